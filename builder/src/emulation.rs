//! Can this machine run programs of another architecture?
//!
//! The kernel hands them to qemu-user by an entry in binfmt_misc. Containers have a root of their own, in which there is no
//! qemu; so the entry must carry the flag F, with which the kernel opens the interpreter when the entry is made.

use std::path::Path;

use farm::arch::Arch;

/// Where the kernel shows its entries.
const ENTRIES: &str = "/proc/sys/fs/binfmt_misc";
/// What brings them.
const INSTALL: &str =
    "install qemu-user-static and binfmt-support (Debian) or qemu-user-static (Fedora, EPEL)";

/// Checks that containers of this architecture run here, natively or under qemu-user.
///
/// # Errors
/// One sentence that says what is missing and what to do.
pub fn check(arch: Arch) -> Result<(), String> {
    if Arch::native() == Some(arch) { Ok(()) } else { check_in(Path::new(ENTRIES), arch) }
}

fn check_in(entries: &Path, arch: Arch) -> Result<(), String> {
    let cannot = |why: String| format!("this machine cannot run {arch} under emulation: {why}");
    if !entries.join("status").exists() {
        let mount = format!("mount -t binfmt_misc binfmt_misc {ENTRIES}");
        return Err(cannot(format!("binfmt_misc is not mounted; run `{mount}` as root, or {INSTALL}")));
    }
    let path = entries.join(format!("qemu-{arch}"));
    let Ok(entry) = std::fs::read_to_string(&path) else {
        return Err(cannot(format!("there is no {ENTRIES}/qemu-{arch}; {INSTALL}")));
    };
    if entry.lines().next() != Some("enabled") {
        let enable = format!("update-binfmts --enable qemu-{arch}");
        return Err(cannot(format!("its entry in binfmt_misc is disabled; run `{enable}` as root")));
    }
    let flags = entry.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default();
    if !flags.contains('F') {
        let install = "install the static qemu (qemu-user-static), whose entries have it";
        return Err(cannot(format!(
            "its entry in binfmt_misc lacks the flag F, without which no container finds qemu; {install}"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENTRY: &str =
        "enabled\ninterpreter /usr/libexec/qemu-binfmt/s390x-binfmt-P\nflags: PF\noffset 0\nmagic 7f45\n";

    #[test]
    fn what_is_missing_is_said_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let told = || check_in(folder.path(), Arch::S390x);
        assert!(told().unwrap_err().contains("mount -t binfmt_misc"));
        std::fs::write(folder.path().join("status"), "enabled\n").unwrap();
        assert!(told().unwrap_err().contains("qemu-s390x; install qemu-user-static"));
        for (entry, said) in [
            (ENTRY.replace("enabled", "disabled"), "update-binfmts --enable qemu-s390x"),
            (ENTRY.replace("PF", "P"), "lacks the flag F"),
            (ENTRY.replace("flags: PF", "flags:"), "lacks the flag F"),
        ] {
            std::fs::write(folder.path().join("qemu-s390x"), entry).unwrap();
            let why = told().unwrap_err();
            assert!(
                why.starts_with("this machine cannot run s390x under emulation: ") && why.contains(said),
                "{why}"
            );
        }
        std::fs::write(folder.path().join("qemu-s390x"), ENTRY).unwrap();
        assert_eq!(told(), Ok(()));
        assert!(check_in(folder.path(), Arch::Aarch64).is_err(), "each architecture has its own entry");
    }

    #[test]
    fn what_is_native_needs_nothing() {
        assert_eq!(Arch::native().map(check), Some(Ok(())));
    }
}
