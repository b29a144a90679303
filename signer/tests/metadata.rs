//! Metadata that a signer does not sign: whatever says anything else than it should, in whatever way.
#![allow(clippy::unwrap_used, reason = "in a test a panic is the answer")]

use std::collections::BTreeMap;
use std::io::Write as _;

use farm::digest::Digest;
use farm::extras::{Extra, ExtraKind};
use farm::nvr::Nevra;
use flate2::Compression;
use flate2::write::GzEncoder;
use signer::metadata::{match_extras, match_packages, read_primary, read_repomd, unpacked_digest};
use signer::revision::match_revision;

const MOST: u64 = 1 << 20;

fn nevra(name: &str) -> Nevra {
    let (version, release, arch) = ("1".to_owned(), "1".to_owned(), "noarch".to_owned());
    Nevra { name: name.to_owned(), epoch: 0, version, release, arch }
}

fn package(name: &str) -> String {
    let file = nevra(name).file_name();
    format!(
        r#"<package type="rpm">
  <name>{name}</name>
  <arch>noarch</arch>
  <version epoch="0" ver="1" rel="1"/>
  <checksum type="sha256" pkgid="YES">{}</checksum>
  <summary>A &amp; B</summary>
  <size package="7" installed="1" archive="1"/>
  <location href="Packages/h/0123/{file}"/>
  <format>
    <rpm:license>MIT</rpm:license>
    <rpm:provides><rpm:entry name="{name}"/></rpm:provides>
    <file>/usr/bin/{name}</file>
  </format>
</package>
"#,
        Digest::of(name.as_bytes())
    )
}

fn primary(packages: &[String]) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{}\">\n{}</metadata>",
        packages.len(),
        packages.concat()
    )
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

fn why<T: std::fmt::Debug>(result: Result<T, signer::Trouble>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn a_list_is_read_however_it_is_packed() {
    let text = primary(&[package("ant"), package("bee")]);
    let (head, tail) = text.split_at(text.len() / 2);
    let members = [gzip(head), gzip(tail)].concat();
    let frames = [head, tail].map(|part| zstd::encode_all(part.as_bytes(), 1).unwrap()).concat();
    let read = [text.clone().into_bytes(), gzip(&text), members, frames]
        .map(|bytes| read_primary(&bytes, MOST).unwrap());
    for packages in &read {
        assert_eq!(packages, &read[0]);
        assert_eq!((packages.len(), &packages[1].nevra, packages[1].size), (2, &nevra("bee"), 7));
    }
    let empty = "<metadata xmlns=\"http://linux.duke.edu/metadata/common\" packages=\"0\"/>";
    assert!(read_primary(empty.as_bytes(), MOST).unwrap().is_empty());
    assert!(why(read_primary(b"\xfd7zXZ", MOST)).contains("compressed"));
    assert!(why(read_primary(&gzip(&text), 100)).contains("primary"));
}

#[test]
fn a_list_has_exactly_what_it_should() {
    let (ant, bee) = (nevra("ant"), nevra("bee"));
    let (ant_file, bee_file) = (ant.file_name(), bee.file_name());
    let expected = BTreeMap::from([(ant_file.as_str(), &ant), (bee_file.as_str(), &bee)]);
    let matched = |packages: &[String]| {
        match_packages("x86_64", &read_primary(primary(packages).as_bytes(), MOST).unwrap(), &expected)
    };
    let found = matched(&[package("ant"), package("bee")]).unwrap();
    assert_eq!(found[&ant_file], (Digest::of(b"ant"), 7));
    assert!(why(matched(&[package("ant")])).contains("does not list bee"));
    assert!(why(matched(&[package("ant"), package("bee"), package("cat")])).contains("lists cat-1-1"));
    assert!(why(matched(&[package("ant"), package("bee"), package("bee")])).contains("twice"));
    // The right file under the name of something newer.
    let newer = package("ant").replace("ver=\"1\"", "ver=\"9\"");
    assert!(why(matched(&[newer, package("bee")])).contains("calls ant-1-1.noarch.rpm `ant-9-1.noarch`"));
}

#[test]
fn a_list_that_could_be_read_in_two_ways_is_refused() {
    let good = package("ant");
    for (from, to) in [
        ("<location href", "<location xml:base=\"http://elsewhere/\" href"),
        ("Packages/h/0123/", "Packages/../../other/"),
        ("Packages/h/0123/", "/Packages/"),
        ("Packages/h/0123/", "repodata/"),
        ("<name>ant</name>", "<name>ant</name><name>bee</name>"),
        ("<name>ant</name>", "<name>../ant</name>"),
        ("<name>ant</name>", "<name>a&#110;t</name>"),
        ("type=\"sha256\"", "type=\"md5\""),
        ("pkgid=\"YES\"", ""),
        ("<package type=\"rpm\">", "<package type=\"module\">"),
        ("<package type=\"rpm\">", "<patch>"),
        ("</package>", "</package><package type=\"rpm\"/>"),
        ("</package>", ""),
    ] {
        let text = primary(&[good.replace(from, to)]);
        assert!(read_primary(text.as_bytes(), MOST).is_err(), "{to} is accepted");
    }
    let text = primary(std::slice::from_ref(&good));
    for (from, to) in [
        ("packages=\"1\"", "packages=\"2\""),
        ("<metadata", "<!DOCTYPE metadata [<!ENTITY x \"y\">]><metadata"),
        ("</metadata>", ""),
        ("<metadata", "<other"),
    ] {
        assert!(read_primary(text.replacen(from, to, 1).as_bytes(), MOST).is_err(), "{to} is accepted");
    }
}

fn data(kind: &str, href: &str) -> String {
    format!(
        "<data type=\"{kind}\"><checksum type=\"sha256\">{}</checksum><open-checksum type=\"sha256\">x</open-checksum>\
         <location href=\"{href}\"/><timestamp>1</timestamp><size>12</size><open-size>99</open-size></data>",
        Digest::of(kind.as_bytes())
    )
}

fn repomd(data: &[String]) -> Vec<u8> {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\">\
         <revision>7</revision>{}</repomd>",
        data.concat()
    )
    .into_bytes()
}

#[test]
fn a_repo_consists_of_known_files_each_once() {
    let needed: Vec<String> = ["primary", "filelists", "other"]
        .iter()
        .map(|kind| data(kind, &format!("repodata/{kind}.xml.gz")))
        .collect();
    let with = |more: &str| [needed.clone(), vec![more.to_owned()]].concat();
    let read = read_repomd(&repomd(&with(&data("group", "repodata/comps.xml")))).unwrap();
    assert_eq!(read.len(), 4);
    assert_eq!((read[0].digest.clone(), read[0].size), (Digest::of(b"primary"), 12));
    assert!(why(read_repomd(&repomd(&needed[..2]))).contains("lists no other"));
    for more in [
        data("primary", "repodata/second.xml"),
        data("primary_db", "repodata/primary.sqlite"),
        data("group", "../comps.xml"),
        data("group", "repodata/../../comps.xml"),
        data("group", "http://elsewhere/comps.xml"),
        data("group", "repodata/comps.xml").replace("<location", "<location xml:base=\"http://elsewhere/\""),
        data("group", "repodata/comps.xml").replace("sha256", "sha1"),
        data("group", "repodata/comps.xml").replace("<size>12</size>", ""),
    ] {
        assert!(read_repomd(&repomd(&with(&more))).is_err(), "{more} is accepted");
    }
}

#[test]
fn a_repo_names_the_snapshots_revision_once() {
    let named = |revision: &str| {
        let text = String::from_utf8(repomd(&[])).unwrap();
        match_revision("x86_64", text.replace("<revision>7</revision>", revision).as_bytes(), 7)
    };
    named("<revision>7</revision>").unwrap();
    for (other, said) in [("6", "6"), ("8", "8"), ("07", "07"), ("-7", "-7"), ("", ""), ("7.5", "7.5")] {
        let why = why(named(&format!("<revision>{other}</revision>")));
        assert!(
            why.contains(&format!("x86_64 has revision `{said}`, and that of the snapshot is 7")),
            "{why}"
        );
    }
    for unclear in [
        "",
        "<revision/>",
        "<revision>7</revision><revision>6</revision>",
        "<revision>7</revision><tags><revision>7</revision></tags>",
        "<tags><revision>7</revision></tags>",
        "<revision>7<x/></revision>",
        "<revision>&#55;</revision>",
        "<revision><![CDATA[7]]></revision>",
        "<revision>6<x></x>7</revision>",
    ] {
        let why = why(named(unclear));
        assert!(why.contains("names no single revision"), "{unclear}: {why}");
    }
}

/// Beside the packages exactly the files that were tested are signed, as they were before they were compressed.
#[test]
fn beside_the_packages_is_exactly_what_was_tested() {
    let comps = "<comps/>";
    let tested = Digest::of(comps.as_bytes());
    for packed in [comps.as_bytes().to_vec(), gzip(comps), zstd::encode_all(comps.as_bytes(), 1).unwrap()] {
        assert_eq!(unpacked_digest(&packed, MOST).unwrap(), tested);
        assert!(why(unpacked_digest(&packed, 7)).contains("more than 7 bytes"));
    }
    assert!(why(unpacked_digest(b"\xfd7zXZ", MOST)).contains("compressed"));
    assert!(why(unpacked_digest(&gzip(comps)[..9], MOST)).contains("damaged"));

    let extra = |kind| Extra { kind, digest: tested.clone(), size: 8 };
    let listed = |kinds: &[&str]| -> BTreeMap<String, Digest> {
        kinds.iter().map(|kind| ((*kind).to_owned(), tested.clone())).collect()
    };
    let both = [extra(ExtraKind::Group), extra(ExtraKind::Modules)];
    match_extras("x86_64", &listed(&["group", "modules"]), &both).unwrap();
    match_extras("source", &listed(&[]), &[]).unwrap();
    let wrong = |kinds: &[&str], expected: &[Extra]| why(match_extras("x86_64", &listed(kinds), expected));
    assert!(wrong(&["group"], &[]).contains("lists group, which the snapshot does not have there"));
    assert!(wrong(&["group", "updateinfo"], &both[..1]).contains("lists updateinfo"));
    assert!(wrong(&["group"], &both).contains("lists no modules"));
    assert!(wrong(&["group"], &[extra(ExtraKind::Group), extra(ExtraKind::Group)]).contains("two files"));
    let exchanged = BTreeMap::from([("group".to_owned(), Digest::of(b"other"))]);
    assert!(why(match_extras("x86_64", &exchanged, &both[..1])).contains("not the one that was tested"));
}
