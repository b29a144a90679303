use std::io::Write as _;

use super::*;
use crate::repos::samples::{Bench, KEY, OTHER_KEY, X86, sign_metadata, sign_metadata_by};
use farm::extras::ExtraKind;
use farm::snapshot::Member;

const TAG: &str = "storage9s-gluster-11-testing";

/// A staged snapshot, and what it should be.
struct Staged {
    bench: Bench,
    dir: PathBuf,
    expected: Expected,
}

async fn staged() -> Staged {
    let mut bench = Bench::new();
    let hello = bench.hello("2.10").await;
    let extras = bench.extras(&[(ExtraKind::Group, "<comps>a</comps>")]).await;
    let snapshot = bench.snapshot(TAG, None, &[hello]).with_extras(Some(extras));
    let dir = bench.stage(&snapshot).await;
    let signed = bench.signed(&snapshot).await;
    let artifacts = bench.artifacts.clone();
    let (keys, arches) = (vec![KEY.public()], X86.to_vec());
    let expected = Expected {
        snapshot: snapshot.into(),
        arches,
        signed,
        keys,
        former: Vec::new(),
        live: None,
        artifacts,
    };
    Staged { bench, dir, expected }
}

impl Staged {
    fn path(&self, name: &str) -> PathBuf {
        let repodata = self.dir.join("x86_64/repodata");
        let found = fs::read_dir(&repodata).unwrap().map(|entry| entry.unwrap().path());
        found.into_iter().find(|path| path.to_string_lossy().ends_with(name)).unwrap()
    }

    fn faults(&self) -> Vec<String> {
        verify(&self.dir, &self.expected).err().unwrap_or_default()
    }

    /// Puts other text into the main index, listed and signed as if it had always been there.
    fn rewrite(&self, change: impl Fn(String) -> String, open_size: impl Fn(usize) -> usize) {
        let (primary, repomd) = (self.path("-primary.xml.gz"), self.path("repomd.xml"));
        let mut text = String::new();
        MultiGzDecoder::new(File::open(&primary).unwrap()).read_to_string(&mut text).unwrap();
        let listed = Repomd::read(&fs::read(&repomd).unwrap()).unwrap().files.remove(0);
        let before = text.len();
        let text = change(text);
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(text.as_bytes()).unwrap();
        let bytes = gz.finish().unwrap();
        fs::write(&primary, &bytes).unwrap();
        let list = fs::read_to_string(&repomd).unwrap();
        let list = list
            .replace(&format!("\"sha256\">{}", listed.sha256), &format!("\"sha256\">{}", Digest::of(&bytes)))
            .replace(&format!("<size>{}<", listed.size.unwrap()), &format!("<size>{}<", bytes.len()))
            .replace(&format!("<open-size>{before}<"), &format!("<open-size>{}<", open_size(text.len())));
        fs::write(&repomd, list).unwrap();
        sign_metadata(&self.dir, "x86_64", &KEY);
    }
}

#[tokio::test]
async fn what_is_whole_is_accepted_and_so_is_what_follows_it() {
    let mut first = staged().await;
    assert_eq!(first.faults(), [""; 0]);
    assert_eq!(verify_staged(&first.dir, first.expected.clone()).await, Ok(()));
    let hello = first.bench.hello("2.11").await;
    let next = first.bench.snapshot(TAG, Some(&first.expected.snapshot), &[hello]);
    assert_eq!(next.extras, None, "files beside the packages may go");
    let dir = first.bench.stage(&next).await;
    let signed = first.bench.signed(&next).await;
    let expected =
        Expected { snapshot: next.into(), signed, live: Some(first.dir.clone()), ..first.expected.clone() };
    assert_eq!(verify(&dir, &expected), Ok(()));
    let back = Expected { live: Some(dir.clone()), ..first.expected };
    let faults = verify(&first.dir, &back).unwrap_err();
    assert!(faults.iter().all(|fault| fault.contains("clients would not take it")), "{faults:?}");
    let both = Expected { keys: vec![OTHER_KEY.public(), KEY.public()], ..expected.clone() };
    assert_eq!(verify(&dir, &both), Ok(()), "while one key follows another");
    for folder in manifest::folder_names(&X86) {
        sign_metadata_by(&dir, &folder, &[&KEY, &OTHER_KEY]);
    }
    assert!(verify(&dir, &expected).is_err(), "somebody else has signed as well");
    let after = Expected { former: vec![OTHER_KEY.public()], ..expected };
    assert_eq!(verify(&dir, &after), Ok(()), "it counted when it signed");
}

/// Each of these is refused, for the reason that is given.
#[tokio::test]
async fn what_is_not_as_it_should_be_is_refused() {
    type Change = fn(&mut Staged);
    let cases: [(&str, Change); 26] = [
        ("in the store is not the file that was signed", |s| {
            let (digest, _) = s.expected.signed.values().next().unwrap();
            let path = s.bench.artifacts.path(digest);
            let mut bytes = fs::read(&path).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::remove_file(&path).unwrap();
            fs::write(path, bytes).unwrap();
        }),
        ("its revision is 9, not ", |s| {
            let text = fs::read_to_string(s.path("repomd.xml")).unwrap();
            let revision = format!("<revision>{}<", s.expected.snapshot.revision());
            fs::write(s.path("repomd.xml"), text.replace(&revision, "<revision>9<")).unwrap();
            sign_metadata(&s.dir, "x86_64", &KEY);
        }),
        ("repomd.xml.asc cannot be read", |s| fs::remove_file(s.path("repomd.xml.asc")).unwrap()),
        ("by a key that does not count here", |s| sign_metadata(&s.dir, "x86_64", &OTHER_KEY)),
        ("by a key that does not count here", |s| s.expected.keys = vec![OTHER_KEY.public()]),
        ("signed by keys that have had their day", |s| {
            s.expected.former = std::mem::replace(&mut s.expected.keys, vec![OTHER_KEY.public()]);
        }),
        ("by a key that does not count here", |s| {
            let mut text = fs::read(s.path("repomd.xml")).unwrap();
            text.push(b'\n');
            fs::write(s.path("repomd.xml"), text).unwrap();
        }),
        ("repomd.xml cannot be read: it is no repomd.xml", |s| {
            fs::write(s.path("repomd.xml"), "<html></html>").unwrap();
            sign_metadata(&s.dir, "x86_64", &KEY);
        }),
        ("-primary.xml.gz is not the file that repomd.xml lists", |s| {
            fs::write(s.path("-primary.xml.gz"), "x").unwrap();
        }),
        ("-filelists.xml.gz cannot be read", |s| fs::remove_file(s.path("-filelists.xml.gz")).unwrap()),
        ("repomd.xml lists 0 files of the kind other", |s| {
            let text = fs::read_to_string(s.path("repomd.xml")).unwrap().replace("\"other\"", "\"another\"");
            fs::write(s.path("repomd.xml"), text).unwrap();
            sign_metadata(&s.dir, "x86_64", &KEY);
        }),
        ("repomd.xml leads to `../x86_64/repodata/", |s| {
            let text = fs::read_to_string(s.path("repomd.xml")).unwrap();
            fs::write(s.path("repomd.xml"), text.replace("\"repodata/", "\"../x86_64/repodata/")).unwrap();
            sign_metadata(&s.dir, "x86_64", &KEY);
        }),
        ("there is no artifact", |s| {
            let (digest, _) = s.expected.signed.values().next().unwrap();
            s.bench.artifacts.remove(digest).unwrap();
        }),
        (" bytes, not ", |s| {
            let (digest, _) = s.expected.signed.values().next().unwrap();
            let path = s.bench.artifacts.path(digest);
            fs::remove_file(&path).unwrap();
            fs::write(path, "cut off").unwrap();
        }),
        ("x86_64: its manifest has 1 packages, not 2", |s| {
            let path = s.dir.join("manifests/x86_64");
            let text = fs::read_to_string(&path).unwrap();
            let kept = text.lines().filter(|line| !line.contains("hello-doc"));
            fs::write(path, kept.map(|line| format!("{line}\n")).collect::<String>()).unwrap();
        }),
        ("x86_64: its manifest has 2 packages, not 1", |s| {
            Arc::make_mut(&mut s.expected.snapshot).members[0].rpms.remove(0);
        }),
        ("is not signed", |s| s.expected.signed.clear()),
        ("debug-x86_64 is not there", |s| fs::remove_dir_all(s.dir.join("debug-x86_64")).unwrap()),
        ("aarch64 is there, and should not be", |s| fs::create_dir(s.dir.join("aarch64")).unwrap()),
        ("is listed as another package or file than was signed", |s| {
            s.rewrite(|text| text.replace("ver=\"2.10\"", "ver=\"2.11\""), |size| size);
        }),
        ("it is longer than repomd.xml says", |s| s.rewrite(|text| text, |size| size - 1)),
        ("x86_64: repomd.xml lists group, which the snapshot does not have here", |s| {
            Arc::make_mut(&mut s.expected.snapshot).extras = None;
        }),
        ("x86_64: repomd.xml lists no modules, which the snapshot has", |s| {
            let extras = Arc::make_mut(&mut s.expected.snapshot).extras.as_mut().unwrap();
            let more = Extra { kind: ExtraKind::Modules, ..extras.files[0].clone() };
            extras.files.push(more);
        }),
        ("-comps.xml.gz is not the one that was tested", |s| {
            let extras = Arc::make_mut(&mut s.expected.snapshot).extras.as_mut().unwrap();
            extras.files[0].digest = Digest::of(b"<comps>b</comps>");
        }),
        ("-comps.xml.gz cannot be read: it is longer", |s| {
            Arc::make_mut(&mut s.expected.snapshot).extras.as_mut().unwrap().files[0].size -= 1;
        }),
        // Well signed, and in a folder that has none.
        ("debug-x86_64: repomd.xml lists group, which", |s| {
            for entry in fs::read_dir(s.dir.join("x86_64/repodata")).unwrap() {
                let path = entry.unwrap().path();
                fs::copy(&path, s.dir.join("debug-x86_64/repodata").join(path.file_name().unwrap())).unwrap();
            }
        }),
    ];
    for (why, change) in cases {
        let mut staged = staged().await;
        change(&mut staged);
        let faults = staged.faults();
        assert!(faults.iter().any(|fault| fault.contains(why)), "{why}: {faults:?}");
    }
}

#[tokio::test]
async fn what_is_missing_or_listed_twice_is_refused() {
    let mut one = staged().await;
    let more: Member =
        one.bench.member(&[crate::rpms::sample::sample_rpm("world", "1", "1", "x86_64")]).await;
    Arc::make_mut(&mut one.expected.snapshot).members.push(more);
    one.expected.signed = one.bench.signed(&one.expected.snapshot).await;
    let faults = one.faults();
    assert!(faults.iter().any(|fault| fault.contains("its manifest has no Packages/w/")), "{faults:?}");
    assert!(faults.iter().all(|fault| fault.starts_with("x86_64: ")), "{faults:?}");

    let package = |text: &str| {
        let from = text.find("<package ").unwrap();
        (from, text.find("</package>").unwrap() + "</package>".len())
    };
    let one = staged().await;
    one.rewrite(
        |text| {
            let (from, to) = package(&text);
            text.replacen("packages=\"2\"", "packages=\"3\"", 1).replacen(
                &text[from..to],
                &text[from..to].repeat(2),
                1,
            )
        },
        |size| size,
    );
    let faults = one.faults();
    assert!(faults.iter().any(|fault| fault.contains("or is there twice")), "{faults:?}");

    let one = staged().await;
    one.rewrite(
        |text| {
            let (from, to) = package(&text);
            text.replacen(&text[from..to], "", 1)
        },
        |size| size,
    );
    let faults = one.faults();
    assert!(faults.iter().any(|fault| fault.contains("is not listed")), "{faults:?}");
    assert!(faults.iter().any(|fault| fault.contains("has 1 packages, but says Some(2)")), "{faults:?}");
}
