//! What every engine must do, written once and run on each: the dummy always, Docker and Podman where the
//! environment names them.
//!
//! - `GRANGE_TEST_DOCKER`, `GRANGE_TEST_PODMAN`: the socket, as `unix:///path`;
//! - `GRANGE_TEST_IMAGE`: an image with bash, tar and Python.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use builder::Spool;
use builder::engine::{
    ContainerSpec, Dummy, Ended, Ending, Engine, EngineError, KILLED, Kept, Mount, Owner, Profile, Script,
    Step,
};
use farm::arch::Arch;
use farm::ids::{JobId, Minter};
use farm::recipe::{Input, Limits, Recipe, Work};
use farm::stamp::Stamp;
use tokio_util::sync::CancellationToken;

const MIB: usize = 1024 * 1024;
/// Far longer than stopping a container takes, and far shorter than what these do by themselves.
const LONG: Duration = Duration::from_secs(300);

/// One engine under test, and whether it really runs containers.
struct Bench {
    engine: Engine,
    image: String,
    builder: String,
    real: bool,
    /// Its engine knows when the kernel killed something for want of memory.
    says_why: bool,
    folder: tempfile::TempDir,
    jobs: AtomicU64,
}

/// What one run left behind.
struct Run {
    result: Result<Ended, EngineError>,
    output: Vec<u8>,
    log: String,
    took: Duration,
}

impl Run {
    fn ending(&self) -> Ending {
        match &self.result {
            Ok(ended) => ended.ending,
            Err(error) => panic!("{error}; log: {}", self.log.chars().take(500).collect::<String>()),
        }
    }
}

impl Bench {
    fn new(engine: Engine, image: &str, real: bool) -> Self {
        let builder = format!("contract-{}-{:?}", std::process::id(), std::thread::current().id());
        let builder = builder.replace(['(', ')'], "");
        let folder = tempfile::tempdir().unwrap();
        let image = image.to_owned();
        Self { engine, image, builder, real, says_why: true, folder, jobs: AtomicU64::new(1) }
    }

    fn owner(&self) -> Owner {
        let number = self.jobs.fetch_add(1, Ordering::Relaxed);
        let job: JobId = Minter::new(number).mint(Stamp::from_millis(i64::from(std::process::id())));
        Owner { builder: self.builder.clone(), job, turn: 1 }
    }

    /// A locked container with small limits that runs a bash script; the dummy knows the script by its case.
    fn spec(&self, case: &str, script: &str) -> ContainerSpec {
        let limits =
            Limits { seconds: 60, memory_mb: 256, disk_mb: 64, pids: 64, cpus: 1, log_mb: 8, output_mb: 8 };
        let srpm = Input { name: "x.src.rpm".into(), digest: farm::digest::Digest::of(b"x"), size: 1 };
        let recipe = Recipe {
            image: self.image.clone(),
            arch: Arch::native().unwrap(),
            work: Work::Build { srpm },
            repos: Vec::new(),
            macros: [("case".to_owned(), case.to_owned())].into(),
            limits,
            sharing: None,
        };
        ContainerSpec {
            owner: self.owner(),
            step: Step::Build,
            round: 1,
            recipe: Arc::new(recipe),
            image: self.image.clone(),
            command: ["/bin/bash", "-c", script].map(str::to_owned).into(),
            env: vec![("GREETING".to_owned(), "hello $(world)".to_owned())],
            mounts: Vec::new(),
            profile: Profile::Locked,
        }
    }

    async fn run(&self, spec: &ContainerSpec) -> Run {
        self.run_until(spec, &CancellationToken::new()).await
    }

    async fn run_until(&self, spec: &ContainerSpec, stop: &CancellationToken) -> Run {
        let path = |kind: &str| -> PathBuf { self.folder.path().join(format!("{}.{kind}", spec.name())) };
        let limits = &spec.recipe.limits;
        let mut output = Spool::create(path("out"), limits.output_mb * MIB as u64).await.unwrap();
        let mut log = Spool::create(path("log"), limits.log_mb * MIB as u64).await.unwrap();
        let begun = Instant::now();
        let result = self.engine.run(spec, &mut output, &mut log, stop).await;
        let took = begun.elapsed();
        let log = String::from_utf8_lossy(&std::fs::read(path("log")).unwrap()).into_owned();
        Run { result, output: std::fs::read(path("out")).unwrap(), log, took }
    }

    async fn run_script(&self, case: &str, script: &str) -> Run {
        self.run(&self.spec(case, script)).await
    }

    /// Reaping nothing is a success.
    async fn reap_all(&self) {
        self.engine.reap_all(&self.builder, &Kept::new()).await.unwrap();
    }

    async fn left(&self) -> usize {
        self.engine.leftovers(&self.builder, &Kept::new()).await.unwrap()
    }

    async fn nothing_is_left(&self) {
        assert_eq!(self.engine.leftovers(&self.builder, &Kept::new()).await.unwrap(), 0);
    }
}

/// What the dummy does for each case, in the place of the bash script.
fn script(recipe: &Recipe, _: Step) -> Script {
    match recipe.macros["case"].as_str() {
        "speaks" => Script::default().says("to the log").says("again").puts_out("a.txt", "content\n"),
        "exits with 7" => Script::default().exits(7),
        "says much" => Script::default().says("x".repeat(4 * MIB - 1)).puts_out("a.txt", vec![0; 4 * MIB]),
        "hangs" => Script::default().says("begun").hangs(),
        "prints forever" => Script::default().says("y\n".repeat(5 * MIB)).hangs(),
        "puts out too much" => Script::default().puts_out("a.txt", vec![0; 9 * MIB]),
        "eats memory" => Script::default().runs_out_of_memory(),
        "leaves a file" => Script::default(),
        other => panic!("no script for {other}"),
    }
}

async fn contract(bench: &Bench) {
    bench.engine.ping().await.unwrap();
    says_what_it_said(bench).await;
    keeps_every_byte(bench).await;
    stops_what_breaks_a_limit(bench).await;
    stops_when_told(bench).await;
    commits_for_the_next_container(bench).await;
    keeps_what_it_is_told_to(bench).await;
    reaps_an_earlier_life(bench).await;
    bench.reap_all().await;
    bench.reap_all().await;
    bench.nothing_is_left().await;
}

async fn says_what_it_said(bench: &Bench) {
    let run = bench
        .run_script(
            "speaks",
            "cd /tmp; echo content > a.txt; tar -c a.txt; echo to the log >&2; echo again >&2",
        )
        .await;
    assert_eq!(run.ending(), Ending::Exited(0));
    assert_eq!(run.log, "to the log\nagain\n");
    let mut archive = tar::Archive::new(run.output.as_slice());
    let mut entry = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(entry.path().unwrap().to_str(), Some("a.txt"));
    assert_eq!(std::io::read_to_string(&mut entry).unwrap(), "content\n");

    assert_eq!(bench.run_script("exits with 7", "exit 7").await.ending(), Ending::Exited(7));
}

async fn keeps_every_byte(bench: &Bench) {
    let script = "cd /tmp; head -c 4194304 /dev/zero > a.txt; tar -c a.txt & \
                  head -c 4194303 /dev/zero | tr '\\0' x >&2; echo >&2; wait";
    let run = bench.run_script("says much", script).await;
    assert_eq!(run.ending(), Ending::Exited(0));
    assert_eq!(run.log.len(), 4 * MIB);
    assert!(run.log.trim_end().bytes().all(|byte| byte == b'x'), "the two streams are never mixed");
    let mut archive = tar::Archive::new(run.output.as_slice());
    let entry = archive.entries().unwrap().next().unwrap().unwrap();
    assert_eq!(entry.size(), 4 * MIB as u64);
}

async fn stops_what_breaks_a_limit(bench: &Bench) {
    let mut hangs = bench.spec("hangs", "echo begun >&2; trap '' TERM; sleep 1000 & wait; sleep 1000");
    Arc::make_mut(&mut hangs.recipe).limits.seconds = 5;
    let run = bench.run(&hangs).await;
    assert_eq!(run.ending(), Ending::TimedOut);
    assert!(run.took < LONG, "it took {:?}", run.took);
    assert_eq!(run.log, "begun\n", "what was said before is kept");

    let run = bench.run_script("prints forever", "yes >&2").await;
    assert_eq!(run.ending(), Ending::LogOverflow);
    assert_eq!(run.log.len(), 8 * MIB, "as much is kept as may be");

    let run = bench.run_script("puts out too much", "cat /dev/zero").await;
    assert_eq!(run.ending(), Ending::OutputOverflow);

    let eats =
        "echo begun >&2; exec python3 -c 'a = []\nwhile True: a.append(b\"x\" * 33554432)' 2>/dev/null";
    let run = bench.run_script("eats memory", eats).await;
    assert_eq!(run.ending(), Ending::Exited(KILLED));
    assert!(run.result.as_ref().unwrap().oom_killed || !bench.says_why, "{:?}", run.result);

    if bench.real {
        let run = bench.run_script("is killed otherwise", "sh -c 'kill -KILL $$'; exit $?").await;
        assert_eq!(run.ending(), Ending::Exited(KILLED));
        assert!(!run.result.as_ref().unwrap().oom_killed, "nobody wanted for memory: {:?}", run.result);
    }
}

async fn stops_when_told(bench: &Bench) {
    let spec = bench.spec("hangs", "echo begun >&2; trap '' TERM; sleep 1000 & wait; sleep 1000");
    let stop = CancellationToken::new();
    let soon = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.cancel();
    };
    let (run, ()) = tokio::join!(bench.run_until(&spec, &stop), soon);
    assert_eq!(run.ending(), Ending::Stopped);
    assert!(run.took < LONG, "it took {:?}", run.took);

    let mut late = bench.spec("hangs", "sleep 1000");
    late.round = 2;
    assert_eq!(bench.run_until(&late, &stop).await.ending(), Ending::Stopped, "a stop that came before");
}

async fn commits_for_the_next_container(bench: &Bench) {
    let mut first = bench.spec("leaves a file", "echo left > /srv/file");
    first.profile = Profile::Installer { network: false };
    let ended = bench.run(&first).await.result.unwrap();
    assert_eq!(ended.ending, Ending::Exited(0));
    let image = bench.engine.commit(&ended.container, &first.owner).await.unwrap();

    let mut second = first.clone();
    (second.round, second.image) = (2, image.0);
    second.command =
        ["/bin/bash", "-c", "cat /srv/file >&2; echo more >> /srv/file"].map(str::to_owned).into();
    let run = bench.run(&second).await;
    assert_eq!(run.ending(), Ending::Exited(0));
    if bench.real {
        assert_eq!(run.log, "left\n");
    }
    // A second image on top of the first: both must go.
    bench.engine.commit(&run.result.unwrap().container, &second.owner).await.unwrap();

    let before = bench.left().await;
    bench.engine.reap(&first.owner, &Kept::new()).await.unwrap();
    assert_eq!(bench.left().await, before - 4);
}

/// An image outlives its attempt and its builder's life, is started from by other attempts, and goes when told to; what
/// was made from it, and other builders, have no say in that.
async fn keeps_what_it_is_told_to(bench: &Bench) {
    let base = bench.engine.image(&bench.image).await.unwrap().expect("the engine has the image");
    assert!(base.id.0.starts_with("sha256:"), "{base:?}");
    assert!(bench.engine.image("grange.invalid/none:1").await.unwrap().is_none() || !bench.real);

    let mut first = bench.spec("leaves a file", "echo left > /srv/file");
    (first.profile, first.image) = (Profile::Installer { network: false }, base.id.0.clone());
    let ended = bench.run(&first).await.result.unwrap();
    let root = bench.engine.commit(&ended.container, &first.owner).await.unwrap();
    let facts = bench.engine.image(&root.0).await.unwrap().unwrap();
    assert!(facts.id == root && facts.bytes >= base.bytes && facts.id != base.id, "{facts:?} of {base:?}");
    let kept = Kept::from([root.clone()]);
    bench.engine.reap(&first.owner, &kept).await.unwrap();

    let mut second = bench.spec("leaves a file", "cat /srv/file >&2; echo more > /srv/more");
    (second.profile, second.image) = (Profile::Installer { network: false }, root.0.clone());
    let run = bench.run(&second).await;
    assert_eq!(run.ending(), Ending::Exited(0));
    assert!(!bench.real || run.log == "left\n", "{}", run.log);
    bench.engine.commit(&run.result.unwrap().container, &second.owner).await.unwrap();
    bench.engine.reap(&second.owner, &kept).await.unwrap();
    bench.engine.reap_all(&bench.builder, &kept).await.unwrap();
    assert!(bench.engine.image(&root.0).await.unwrap().is_some(), "it went with what was made from it");
    assert_eq!((bench.left().await, bench.engine.leftovers(&bench.builder, &kept).await.unwrap()), (1, 0));

    bench.engine.remove("another", &root).await.unwrap();
    assert!(bench.engine.image(&root.0).await.unwrap().is_some(), "it is not the other builder's");
    bench.engine.remove(&bench.builder, &root).await.unwrap();
    bench.engine.remove(&bench.builder, &root).await.expect("removing nothing is a success");
    assert!(bench.engine.image(&root.0).await.unwrap().is_none());
    assert!(bench.engine.image(&bench.image).await.unwrap().is_some(), "the base image stays");
}

async fn reaps_an_earlier_life(bench: &Bench) {
    let spec = bench.spec("hangs", "trap '' TERM; sleep 1000");
    if bench.real {
        // The earlier life is this call, which must notice that its container went away. Several times, because
        // engines say all kinds of things of a container that is just going.
        for round in 1..=5 {
            let spec = ContainerSpec { round, ..spec.clone() };
            let later = async {
                tokio::time::sleep(Duration::from_millis(800)).await;
                bench.reap_all().await;
            };
            let (run, ()) = tokio::join!(bench.run(&spec), later);
            assert!(!matches!(run.result, Ok(Ended { ending: Ending::Exited(0), .. })), "{:?}", run.result);
        }
    }
    bench.reap_all().await;
    bench.nothing_is_left().await;
}

/// What only a real container can be asked.
async fn walls(bench: &Bench) {
    let run = bench
        .run_script(
            "looks around",
            r#"exec >&2
            id -u; id -g
            grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status; grep CapBnd /proc/self/status
            ls /sys/class/net
            touch /usr/x; touch /etc/x
            echo "$GREETING"
            printf '#!/bin/sh\necho ran' > /builddir/run; chmod +x /builddir/run; /builddir/run
            touch /tmp/x /var/tmp/x /builddir/x && echo writable
            ulimit -n
            nproc"#,
        )
        .await;
    assert_eq!(run.ending(), Ending::Exited(0), "{}", run.log);
    let lines: Vec<&str> = run.log.lines().collect();
    assert_eq!(lines[..2], ["1000", "1000"], "{}", run.log);
    assert_eq!(lines[2], "CapEff:\t0000000000000000");
    assert_eq!(lines[3], "NoNewPrivs:\t1");
    assert_eq!(lines[4], "CapBnd:\t0000000000000000");
    assert_eq!(lines[5], "lo", "there is no network but the loopback");
    assert!(lines[6].contains("Read-only file system") && lines[7].contains("Read-only file system"));
    assert_eq!(lines[8], "hello $(world)", "no shell read it");
    assert_eq!(lines[9..12], ["ran", "writable", "4096"]);

    let run = bench.run_script("fills the disk", "head -c 100M /dev/zero > /builddir/x").await;
    assert_eq!(run.ending(), Ending::Exited(1), "{}", run.log);
    assert!(run.log.contains("No space left on device"), "{}", run.log);

    let forks =
        "exec python3 -c 'import subprocess\nfor _ in range(200): subprocess.Popen([\"sleep\", \"1000\"])'";
    let run = bench.run_script("forks", forks).await;
    assert!(run.log.contains("Resource temporarily unavailable"), "{}", run.log);

    let shown = bench.folder.path().join("shown");
    std::fs::write(&shown, "a file of the host\n").unwrap();
    let mut mounted = bench.spec("mount", "cat /shown >&2; echo x > /shown || echo refused >&2; id -u >&2");
    mounted.mounts = vec![Mount { from: shown.clone(), to: "/shown".to_owned() }];
    mounted.profile = Profile::Installer { network: false };
    let run = bench.run(&mounted).await;
    assert!(run.log.starts_with("a file of the host\n") && run.log.ends_with("refused\n0\n"), "{}", run.log);
    assert_eq!(std::fs::read_to_string(&shown).unwrap(), "a file of the host\n");

    let mut fills = bench.spec("fills the root", "head -c 90M /dev/zero > /srv/x; sleep 1000");
    fills.profile = Profile::Installer { network: false };
    assert_eq!(bench.run(&fills).await.ending(), Ending::DiskOverflow);

    let mut absent = bench.spec("no image", "true");
    absent.image = "grange.invalid/no-such-image:1".to_owned();
    assert!(matches!(bench.run(&absent).await.result, Err(EngineError::NoImage { .. })));
    bench.reap_all().await;
    bench.nothing_is_left().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dummy_keeps_the_contract() {
    contract(&Bench::new(Engine::Dummy(Dummy::new(script)), "base", false)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_keeps_the_contract() {
    real("GRANGE_TEST_DOCKER").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn podman_keeps_the_contract() {
    real("GRANGE_TEST_PODMAN").await;
}

async fn real(variable: &str) {
    let (Ok(address), Ok(image)) = (std::env::var(variable), std::env::var("GRANGE_TEST_IMAGE")) else {
        println!("SKIPPED: {variable} and GRANGE_TEST_IMAGE are not both set");
        return;
    };
    let bench = Bench::new(Engine::connect(&address).unwrap(), &image, true);
    let bench = Bench { says_why: variable != "GRANGE_TEST_PODMAN", ..bench };
    contract(&bench).await;
    walls(&bench).await;
}
