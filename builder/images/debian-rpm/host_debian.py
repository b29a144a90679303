"""The package host-debian: it owns no file and provides, in rpm's words, what dpkg put into this root.

Without it dnf would want an RPM for every compiler and library that Debian has installed already.
"""

import pathlib
import subprocess
import tempfile

PROVIDES = pathlib.Path("/var/lib/grange/provides")

SPEC = """\
Name: host-debian
Version: 12
Release: 1
Summary: What Debian has installed in this root
License: Apache-2.0
BuildArch: noarch
AutoReqProv: no
{provides}
%description
Generated from dpkg's database.
# Libraries of RPMs are outside of what Debian's loader searches by itself, and many specs leave ldconfig to the distribution.
%transfiletriggerin -- /usr/lib64 /lib64
/sbin/ldconfig
%transfiletriggerpostun -- /usr/lib64 /lib64
/sbin/ldconfig
%files
"""


def install(provides):
    """Makes the package with these capabilities the installed one, and remembers them for the next change."""
    lines = sorted(provides)
    spec_text = SPEC.format(provides="\n".join(f"Provides: {line}" for line in lines))
    with tempfile.TemporaryDirectory(prefix="host-debian.") as folder:
        spec = pathlib.Path(folder, "host-debian.spec")
        spec.write_text(spec_text)
        subprocess.run(
            ["rpmbuild", "-bb", "--quiet", "--define", f"_topdir {folder}", "--define", f"_rpmdir {folder}",
             "--define", f"_srcrpmdir {folder}", "--define", "_rpmfilename host-debian.rpm",
             "--define", "source_date_epoch_from_changelog 0", spec],
            check=True, stdout=subprocess.DEVNULL)
        # --justdb touches no file, --force replaces the package by itself, --force-debian spares us the advice to use alien.
        subprocess.run(
            ["rpm", "-U", "--justdb", "--nodeps", "--force", "--force-debian", f"{folder}/host-debian.rpm"], check=True)
    PROVIDES.parent.mkdir(parents=True, exist_ok=True)
    PROVIDES.write_text("\n".join(lines) + "\n")


def installed():
    """The capabilities that host-debian has now, as they stand in a spec."""
    return set(PROVIDES.read_text().splitlines())
