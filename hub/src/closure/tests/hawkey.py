# Asks dnf's solver about each universe on stdin: of each package, can it be installed alone? Or, where something is installed
# (RPM files are given), does everything go on to what is newest without anything being removed?
import json, shutil, subprocess, sys, tempfile
import dnf, hawkey

def opened(universe, scratch, system):
    base = dnf.Base()
    conf = base.conf
    conf.cachedir = conf.persistdir = conf.installroot = scratch
    conf.reposdir = []
    conf.arch = conf.basearch = "x86_64"
    conf.substitutions.update(arch="x86_64", basearch="x86_64", releasever="9")
    conf.ignorearch = True
    conf.best = False
    conf.install_weak_deps = False
    for repo in universe["repos"]:
        base.repos.add_new_repo(repo["name"], conf, baseurl=["file://%s/%s" % (universe["folder"], repo["name"])],
                                priority=repo["priority"], skip_if_unavailable=False)
    base.fill_sack(load_system_repo=system, load_available_repos=True)
    return base

def verdicts(base):
    found = {}
    for package in base.sack.query().available():
        goal = hawkey.Goal(base.sack)
        goal.install(package)
        found["%s/%s" % (package.reponame, package)] = goal.run(ignore_weak_deps=True)
    return found

def upgraded(base):
    base.upgrade_all()
    try:
        base.resolve(allow_erasing=False)
    except dnf.exceptions.DepsolveError:
        return None
    there = set(map(str, base.sack.query().installed()))
    there -= set(map(str, base.transaction.remove_set))
    there |= set(map(str, base.transaction.install_set))
    return sorted(there)

def answer(universe):
    scratch = tempfile.mkdtemp()
    installed = universe.get("installed")
    if installed:
        subprocess.run(["rpm", "--root", scratch, "-i", "--justdb", "--nodeps", "--noscripts", "--ignorearch",
                        "--ignoreos", "--nosignature", *installed], check=True, capture_output=True)
    base = opened(universe, scratch, bool(installed))
    found = upgraded(base) if installed else verdicts(base)
    base.close()
    shutil.rmtree(scratch)
    return found

json.dump([answer(universe) for universe in json.load(sys.stdin)], sys.stdout)
