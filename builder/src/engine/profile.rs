//! What a profile means in the engine's own terms. This file is the wall between strangers' code and the host.

use std::collections::HashMap;

use bollard::models::{
    ContainerCreateBody, HostConfig, HostConfigLogConfig, Mount as BindMount, MountType, ResourcesUlimits,
};
use farm::arch::Arch;
use farm::recipe::Limits;

use super::spec::{ContainerSpec, Mount, Profile};

/// What dnf and the scriptlets of packages need to install, and nothing that reaches out of the container.
const INSTALLER_CAPABILITIES: [&str; 8] =
    ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETUID", "SETGID", "SYS_CHROOT", "SETFCAP"];

/// Open files per process. Some programs loop over all possible descriptors, so "unlimited" would be a trap.
const OPEN_FILES: i64 = 4096;

/// Processes per user, all containers together. The limit that counts is that of the container's own; this one is
/// there because Podman otherwise asks for four million, which not every host grants.
const USER_PROCESSES: i64 = 32_768;

const MIB: u64 = 1024 * 1024;

/// The platform string by which engines choose an image's architecture.
pub(super) fn platform(arch: Arch) -> &'static str {
    match arch {
        Arch::X86_64 => "linux/amd64",
        Arch::Aarch64 => "linux/arm64",
        Arch::Ppc64le => "linux/ppc64le",
        Arch::S390x => "linux/s390x",
    }
}

/// The architecture as the configuration of an image names it.
pub(super) fn architecture(arch: Arch) -> &'static str {
    let platform = platform(arch);
    platform.strip_prefix("linux/").unwrap_or(platform)
}

/// The body of the engine's "create container" call.
pub(super) fn body(spec: &ContainerSpec) -> ContainerCreateBody {
    let (program, arguments) = match spec.command.split_first() {
        Some((program, arguments)) => (vec![program.clone()], arguments.to_vec()),
        None => (Vec::new(), Vec::new()),
    };
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        hostname: Some("grange".to_owned()),
        user: Some(user(spec.profile).to_owned()),
        working_dir: Some("/".to_owned()),
        // An image may bring an entry point of its own; the command must not become its arguments.
        entrypoint: Some(program),
        cmd: Some(arguments),
        env: Some(spec.env.iter().map(|(name, value)| format!("{name}={value}")).collect()),
        labels: Some(spec.owner.labels().map(|(name, value)| (name.to_owned(), value)).into()),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        host_config: Some(host_config(spec)),
        ..ContainerCreateBody::default()
    }
}

fn user(profile: Profile) -> &'static str {
    match profile {
        Profile::Locked => "1000:1000",
        Profile::Installer { .. } => "0:0",
    }
}

fn host_config(spec: &ContainerSpec) -> HostConfig {
    let limits = &spec.recipe.limits;
    let memory = bytes(limits.memory_mb);
    let (network, capabilities, read_only) = match spec.profile {
        Profile::Locked => ("none", Vec::new(), true),
        Profile::Installer { network } => {
            (if network { "bridge" } else { "none" }, INSTALLER_CAPABILITIES.to_vec(), false)
        }
    };
    HostConfig {
        network_mode: Some(network.to_owned()),
        cap_drop: Some(vec!["ALL".to_owned()]),
        cap_add: Some(capabilities.into_iter().map(str::to_owned).collect()),
        security_opt: Some(vec!["no-new-privileges".to_owned()]),
        pids_limit: Some(i64::try_from(limits.pids).unwrap_or(i64::MAX)),
        memory: Some(memory),
        // The same number: memory and swap together, hence no swap.
        memory_swap: Some(memory),
        nano_cpus: Some(i64::from(cores(limits)) * 1_000_000_000),
        ulimits: Some(vec![ulimit("nofile", OPEN_FILES), ulimit("nproc", USER_PROCESSES), ulimit("core", 0)]),
        init: Some(true),
        ipc_mode: Some("private".to_owned()),
        privileged: Some(false),
        readonly_rootfs: Some(read_only),
        tmpfs: Some(disks(spec.profile, limits)),
        mounts: Some(spec.mounts.iter().map(bind).collect()),
        // The log comes over the attached connection; a second copy would only fill the engine's disk.
        log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
        ..HostConfig::default()
    }
}

/// In-memory disks, because they are the only ones with a size that every engine enforces. Their content counts as
/// the container's memory and is gone when it ends. Podman knows no owner for them, hence the mode that fits all.
fn disks(profile: Profile, limits: &Limits) -> HashMap<String, String> {
    let paths: &[&str] = match profile {
        Profile::Locked => &["/builddir", "/tmp", "/var/tmp"],
        Profile::Installer { .. } => &["/tmp", "/var/tmp"],
    };
    let options = format!("exec,nosuid,nodev,mode=1777,size={}m", limits.disk_mb);
    paths.iter().map(|path| ((*path).to_owned(), options.clone())).collect()
}

/// As many cores as asked for, or as there are: engines refuse to promise more.
fn cores(limits: &Limits) -> u32 {
    let available = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    limits.cpus.clamp(1, u32::try_from(available).unwrap_or(u32::MAX))
}

fn bind(mount: &Mount) -> BindMount {
    BindMount {
        typ: Some(MountType::BIND),
        source: Some(mount.from.to_string_lossy().into_owned()),
        target: Some(mount.to.clone()),
        read_only: Some(true),
        ..BindMount::default()
    }
}

fn ulimit(name: &str, value: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(value), hard: Some(value) }
}

fn bytes(mib: u64) -> i64 {
    i64::try_from(mib.saturating_mul(MIB)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use farm::digest::Digest;
    use farm::ids::{JobId, Minter};
    use farm::recipe::{Input, Recipe, Work};
    use farm::stamp::Stamp;

    use super::*;
    use crate::engine::{Owner, Step};

    fn host_config_of(profile: Profile) -> HostConfig {
        let job: JobId = Minter::new(1).mint(Stamp::ZERO);
        let srpm = Input { name: "x.src.rpm".to_owned(), digest: Digest::of(b""), size: 0 };
        let recipe = Recipe {
            image: "base".to_owned(),
            arch: Arch::X86_64,
            work: Work::Build { srpm },
            repos: Vec::new(),
            macros: std::collections::BTreeMap::new(),
            limits: Limits::default(),
            sharing: None,
        };
        let spec = ContainerSpec {
            owner: Owner { builder: "b".to_owned(), job, turn: 1 },
            step: Step::Build,
            round: 1,
            recipe: Arc::new(recipe),
            image: "base".to_owned(),
            command: vec!["true".to_owned()],
            env: Vec::new(),
            mounts: vec![Mount { from: "/in".into(), to: "/grange/in".to_owned() }],
            profile,
        };
        body(&spec).host_config.unwrap()
    }

    #[test]
    fn no_profile_opens_the_host_and_only_the_installer_may_get_a_network() {
        for (profile, network, capabilities) in [
            (Profile::Locked, "none", 0),
            (Profile::Installer { network: false }, "none", 8),
            (Profile::Installer { network: true }, "bridge", 8),
        ] {
            let config = host_config_of(profile);
            assert_eq!(config.network_mode.as_deref(), Some(network));
            assert_eq!(config.cap_add.unwrap().len(), capabilities);
            assert_eq!(config.cap_drop, Some(vec!["ALL".to_owned()]));
            assert_eq!(config.security_opt, Some(vec!["no-new-privileges".to_owned()]));
            assert_eq!(config.memory, config.memory_swap);
            assert_eq!((config.privileged, config.binds, config.devices), (Some(false), None, None));
            assert_eq!(config.ipc_mode.as_deref(), Some("private"));
            assert_eq!((config.pid_mode, config.userns_mode), (None, None));
            assert!(config.mounts.unwrap().iter().all(|mount| mount.read_only == Some(true)));
            assert_eq!(config.readonly_rootfs, Some(profile == Profile::Locked));
        }
    }
}
