# What `buildbot create-master` makes, without its daemon.
import os

from buildbot.master import BuildMaster
from twisted.application import service

application = service.Application("buildmaster")
BuildMaster(os.getcwd(), "master.cfg", None).setServiceParent(application)
