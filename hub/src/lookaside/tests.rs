use super::*;

fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn a_file_has_the_hashes_other_tools_print() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    std::fs::write(&path, "hello\n").unwrap();
    let hashes = hash_all(&path).unwrap();
    assert_eq!(hashes.size, 6);
    for kind in HashKind::ALL {
        let output = std::process::Command::new(format!("{kind}sum")).arg(&path).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        assert_eq!(hashes.get(kind), printed.split(' ').next().unwrap());
        assert!(hashes.matches(kind, &hashes.get(kind).to_uppercase()));
        assert_eq!(HashKind::from_digits(hashes.get(kind).len()), Some(kind));
    }
}

#[test]
fn a_check_names_the_file_and_an_upload_takes_it_from_the_part() {
    let hash = "A".repeat(128);
    let check = fields(&[("name", "rpms/hello"), ("sha512sum", &hash), ("filename", "hello-1.tar.gz")]);
    let query = Query::from_fields(&check, None).unwrap();
    assert_eq!((&*query.package, &*query.file, query.kind), ("hello", "hello-1.tar.gz", HashKind::Sha512));
    assert_eq!(query.hex, "a".repeat(128));
    let upload = fields(&[("name", "hello"), ("sha512sum", &hash), ("mtime", "1700000000")]);
    assert_eq!(Query::from_fields(&upload, Some("hello-1.tar.gz")).unwrap(), query);
    let path = query.path();
    let parts: Vec<&str> = path.split('/').collect();
    assert_eq!(Query::from_path(parts[0], parts[1], parts[2], parts[3], parts[4]).unwrap(), query);
}

#[test]
fn what_is_missing_doubled_or_unsafe_is_named() {
    let md5 = "0".repeat(32);
    let sha1 = "0".repeat(40);
    let cases: [(&[(&str, &str)], &str); 9] = [
        (&[("name", "a"), ("md5sum", &md5), ("filename", "../x")], "`../x` is not a source file's name"),
        (&[("md5sum", &md5), ("filename", "x")], "no field `name`"),
        (&[("name", "a"), ("filename", "x")], "no field `<type>sum`"),
        (&[("name", "a"), ("md5sum", &md5)], "no field `filename`"),
        (&[("name", "a"), ("md5sum", &md5), ("sha1sum", &sha1), ("filename", "x")], "more than one hash"),
        (&[("name", "a"), ("name", "b"), ("md5sum", &md5), ("filename", "x")], "more than one name"),
        (&[("name", "../a"), ("md5sum", &md5), ("filename", "x")], "`../a` is not a package name"),
        (&[("name", "a"), ("md5sum", &sha1), ("filename", "x")], "not a md5 value"),
        (&[("name", "a"), ("crc32sum", "0"), ("filename", "x")], "`crc32` is not a kind of hash"),
    ];
    for (pairs, expected) in cases {
        let error = Query::from_fields(&fields(pairs), None).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    for file in ["", ".", "..", "a/b", "-x", ".hidden", "a b", "a\nb", "a(b)", "ä"] {
        assert!(!is_source_file(file), "{file:?}");
    }
    for file in ["hello-2.10.tar.gz", "v1.0~rc1.tar.xz", "gtk+3.0.tgz", "0001-Fix_it.patch"] {
        assert!(is_source_file(file), "{file}");
    }
}
