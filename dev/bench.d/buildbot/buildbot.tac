# What `buildbot create-master` makes, without its daemon. `buildbot upgrade-master` looks for the line with Application, as it is.
import os

from buildbot.master import BuildMaster
from twisted.application import service

application = service.Application('buildmaster')
BuildMaster(os.getcwd(), "master.cfg", None).setServiceParent(application)
