use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use crate::closure::{CheckError, Question, World, check};

use super::*;

const PRIMARY: &str = "<metadata packages=\"1\"><package type=\"rpm\"><name>a</name><arch>noarch</arch>\
    <version epoch=\"0\" ver=\"1\" rel=\"1\"/><checksum type=\"sha256\" pkgid=\"YES\">aa</checksum><format>\
    <rpm:provides><rpm:entry name=\"a\" flags=\"EQ\" epoch=\"0\" ver=\"1\" rel=\"1\"/></rpm:provides></format></package>\
    </metadata>";
const FILELISTS: &str = "<filelists packages=\"1\"><package pkgid=\"aa\" name=\"a\" arch=\"noarch\">\
    <file>/usr/share/a</file></package></filelists>";
/// A package that needs a path no main index names.
const NEEDS_PATH: &str = "<metadata packages=\"1\"><package type=\"rpm\"><name>b</name><arch>noarch</arch>\
    <version epoch=\"0\" ver=\"1\" rel=\"1\"/><checksum type=\"sha256\" pkgid=\"YES\">bb</checksum><format>\
    <rpm:requires><rpm:entry name=\"/usr/share/a\"/></rpm:requires></format></package></metadata>";

fn repomd(revision: u32, primary: &str) -> String {
    let mut xml = format!("<repomd><revision>{revision}</revision>");
    for (kind, text) in [("primary", primary), ("filelists", FILELISTS)] {
        let sum = Digest::of(text.as_bytes());
        let _ = write!(
            xml,
            "<data type=\"{kind}\"><checksum type=\"sha256\">{}</checksum><location href=\"repodata/{kind}.xml\"/>\
             <size>{}</size></data>",
            sum.as_str().trim_start_matches("sha256:"),
            text.len()
        );
    }
    xml + "</repomd>"
}

/// What a server answers by path: status, more headers, body.
type Pages = HashMap<String, (u16, String, String)>;

/// A web server for a test: it knows a few pages, and tells what it was asked for.
#[derive(Clone)]
struct Server {
    url: String,
    pages: Arc<Mutex<Pages>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/repo/$basearch", listener.local_addr().unwrap());
        let server = Server { url, pages: Arc::default(), asked: Arc::default() };
        let inside = server.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
                let path = lines.next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
                let path = path.trim_start_matches("/repo/x86_64/").to_owned();
                let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
                let tag =
                    headers.iter().find_map(|line| line.strip_prefix("if-none-match: ").map(str::to_owned));
                let page = inside.pages.lock().unwrap().get(&path).cloned();
                let (status, more, body) = page.unwrap_or((404, String::new(), String::new()));
                let (status, body) = match tag {
                    Some(tag) if more.contains(&tag) => (304, String::new()),
                    _ => (status, body),
                };
                inside.asked.lock().unwrap().push(format!("{status} {path}"));
                let _gone = write!(
                    stream,
                    "HTTP/1.1 {status} x\r\n{more}content-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        server
    }

    fn put(&self, path: &str, status: u16, headers: &str, body: &str) {
        let page = (status, headers.to_owned(), body.to_owned());
        self.pages.lock().unwrap().insert(path.to_owned(), page);
    }

    /// Shows a repo, with a tag that changes with the revision.
    fn show(&self, revision: u32) {
        let tag = format!("etag: \"r{revision}\"\r\n");
        self.put("repodata/repomd.xml", 200, &tag, &repomd(revision, PRIMARY));
        self.put("repodata/primary.xml", 200, "", PRIMARY);
        self.put("repodata/filelists.xml", 200, "", FILELISTS);
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn outside(data: &Path, file_repos: &[PathBuf]) -> Outside {
    let _chosen_before = rustls::crypto::ring::default_provider().install_default();
    Outside::open(data, file_repos, Cache::new(1 << 20)).unwrap()
}

/// Reads a repo, and gives it as a layer.
async fn read(outside: &Outside, url: &str, priority: u32) -> Answer<(State, Layer)> {
    let state = outside.read(url, Arch::X86_64, false).await?;
    let layer = outside.kept(&state, priority).await.unwrap();
    Ok((state, layer))
}

fn write_repo(folder: &Path, revision: u32) {
    std::fs::create_dir_all(folder.join("repodata")).unwrap();
    std::fs::write(folder.join("repodata/repomd.xml"), repomd(revision, PRIMARY)).unwrap();
    std::fs::write(folder.join("repodata/primary.xml"), PRIMARY).unwrap();
    std::fs::write(folder.join("repodata/filelists.xml"), FILELISTS).unwrap();
}

#[tokio::test]
async fn a_repo_on_disk_is_read_below_what_is_allowed_only() {
    let data = tempfile::tempdir().unwrap();
    let mirror = data.path().join("mirror");
    write_repo(&mirror.join("x86_64"), 1);
    let url = format!("file://{}/$basearch", mirror.display());
    let outside = outside(data.path(), std::slice::from_ref(&mirror));
    let (first, layer) = read(&outside, &url, 99).await.unwrap();
    assert_eq!((first.revision.as_str(), layer.data.len(), layer.priority), ("1", 1, 99));
    write_repo(&mirror.join("x86_64"), 2);
    let second = outside.current(&url, Arch::X86_64).await.unwrap();
    assert!(second.revision == "2" && second.digest != first.digest);

    let other = data.path().join("mirror-secret");
    write_repo(&other, 1);
    std::os::unix::fs::symlink(&other, mirror.join("link")).unwrap();
    let refused = [
        format!("file://{}", other.display()),
        format!("file://{}/link", mirror.display()),
        format!("file://{}/../mirror-secret", mirror.display()),
        format!("file://{}/absent", mirror.display()),
        "ftp://localhost/repo".to_owned(),
        "/etc".to_owned(),
        "http://localhost/$releasever".to_owned(),
    ];
    for bad in refused {
        let answer = read(&outside, &bad, 99).await;
        assert!(matches!(answer, Err(Problem::Invalid { .. })), "{bad}");
    }
    // An index that is a link to elsewhere is not followed.
    std::fs::remove_file(mirror.join("x86_64/repodata/primary.xml")).unwrap();
    std::os::unix::fs::symlink(
        other.join("repodata/primary.xml"),
        mirror.join("x86_64/repodata/primary.xml"),
    )
    .unwrap();
    let answer = read(&outside, &url, 99).await;
    assert!(
        matches!(answer, Err(Problem::Unavailable { what, .. }) if what.contains("leads out of the repo"))
    );
}

#[tokio::test]
async fn what_is_known_is_not_fetched_again_and_filelists_only_when_asked_for() {
    let (data, server) = (tempfile::tempdir().unwrap(), Server::start());
    server.show(1);
    let outside = outside(data.path(), &[]);
    let (first, layer) = read(&outside, &server.url, 10).await.unwrap();
    assert_eq!(server.asked(), ["200 repodata/repomd.xml", "200 repodata/primary.xml"]);
    let (again, same) = read(&outside, &server.url, 10).await.unwrap();
    assert!(again == first && Arc::ptr_eq(&layer.data, &same.data));
    assert_eq!(outside.current(&server.url, Arch::X86_64).await.unwrap(), first);
    assert_eq!(server.asked(), ["304 repodata/repomd.xml", "304 repodata/repomd.xml"]);

    // Another process finds the files of this one.
    let after_restart = self::outside(data.path(), &[]);
    read(&after_restart, &server.url, 10).await.unwrap();
    assert_eq!(server.asked(), ["200 repodata/repomd.xml"]);

    let needs = Layer { priority: 1, data: Arc::new(RepoData::read(NEEDS_PATH.as_bytes()).unwrap()) };
    let asked = || {
        let (needs, layer) = (needs.clone(), layer.clone());
        tokio::task::spawn_blocking(move || {
            let (before, after) = ([layer.clone()], [needs, layer]);
            check(&Question { arch: Arch::X86_64, before: &before, after: &after, world: World::Complete })
        })
    };
    // A check fetches nothing: it says what it lacks.
    let Err(CheckError::Filelists(lacking)) = asked().await.unwrap() else { panic!("they were not read") };
    assert!(lacking.get_ref().is_some_and(|error| error.is::<Unread>()), "{lacking}");
    assert_eq!(server.asked(), [""; 0]);
    outside.read(&server.url, Arch::X86_64, true).await.unwrap();
    assert_eq!(server.asked(), ["304 repodata/repomd.xml", "200 repodata/filelists.xml"]);
    let report = asked().await.unwrap().unwrap();
    assert_eq!((report.checked, report.broken), (1, Vec::new()));
    assert_eq!(server.asked(), [""; 0]);

    server.show(2);
    let second = outside.current(&server.url, Arch::X86_64).await.unwrap();
    assert!(second.revision == "2" && second.digest != first.digest);
}

#[tokio::test]
async fn what_is_not_what_it_should_be_is_refused_and_not_kept() {
    let server = Server::start();
    let elsewhere = "location: file:///etc/passwd\r\n";
    type Spoil = Box<dyn Fn(&Server)>;
    let spoils: Vec<(&str, Spoil)> = vec![
        (
            "is not what repomd.xml says",
            Box::new(|server| {
                server.put("repodata/primary.xml", 200, "", &PRIMARY.replace("<name>a<", "<name>x<"));
            }),
        ),
        (
            "larger than it may be",
            Box::new(|server| {
                server.put("repodata/primary.xml", 200, "", &format!("{PRIMARY} "));
            }),
        ),
        ("404", Box::new(|server| server.put("repodata/primary.xml", 404, "", ""))),
        (
            "302",
            Box::new(move |server| {
                server.put("repodata/primary.xml", 302, elsewhere, "");
            }),
        ),
        (
            "checksums of a kind not trusted",
            Box::new(|server| {
                let weak = repomd(1, PRIMARY).replace("type=\"sha256\"", "type=\"md5\"");
                server.put("repodata/repomd.xml", 200, "", &weak);
            }),
        ),
        (
            "larger than it may be",
            Box::new(|server| {
                server.put("repodata/repomd.xml", 200, "", &" ".repeat(5 << 20));
            }),
        ),
        ("cut off", Box::new(|server| server.put("repodata/repomd.xml", 200, "", "<repomd>"))),
        (
            "names a file outside",
            Box::new(|server| {
                let bad = repomd(1, PRIMARY).replace("repodata/primary.xml", "../primary.xml");
                server.put("repodata/repomd.xml", 200, "", &bad);
            }),
        ),
    ];
    for (expected, spoil) in spoils {
        let data = tempfile::tempdir().unwrap();
        let outside = outside(data.path(), &[]);
        server.show(1);
        spoil(&server);
        let Err(Problem::Unavailable { what, .. }) = read(&outside, &server.url, 10).await else {
            panic!("not refused: {expected}")
        };
        assert!(what.contains(expected), "{what}");
        server.show(1);
        read(&outside, &server.url, 10).await.unwrap();
    }
}
