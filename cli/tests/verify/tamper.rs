//! Ways to tamper with a published tree. Each begins with a good one and must be reported, with the file and the reason.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use ::farm::digest::Digest;
use ::farm::dsse::{DecisionKey, Envelope, IN_TOTO};
use serde_json::{Value, json};

use crate::farm::{COMPS, Farm, TAG, decision_key, sign_folder, write_decision};
use crate::look;
use cli::verify::{Keys, Options, Place, Violation, audit};

/// The id of a waiver, and how many milliseconds before the decision it was made.
const WAIVER: &str = "01JZ8M3Q5T7V9X1B3D5F7H9K1M";
const AGE: i64 = 2;

/// What there is to tamper with.
struct Scene {
    /// The public tree.
    root: PathBuf,
    /// The keys that the auditor has.
    keys: PathBuf,
    /// The snapshot that was live before.
    old: PathBuf,
    /// Well signed by the SIG's key, and never let through: with one package more, and with one less.
    more: PathBuf,
    less: PathBuf,
}

impl Scene {
    /// A copy of a tree and of the keys; `others` are the snapshots besides.
    fn of(root: &Path, keys: &Path, copies: &Path, others: [&PathBuf; 3]) -> Scene {
        copy(root, &copies.join("public"));
        copy(keys, &copies.join("keys"));
        let [old, more, less] = others;
        Scene {
            old: copies.join("public/snap").join(old.file_name().unwrap()),
            root: copies.join("public"),
            keys: copies.join("keys"),
            more: more.clone(),
            less: less.clone(),
        }
    }

    fn live(&self) -> PathBuf {
        self.root.join("live").join(TAG)
    }

    fn folder(&self) -> PathBuf {
        self.live().join("x86_64")
    }

    /// Puts the metadata of another snapshot's folder, and its packages, into the live one.
    fn take(&self, from: &Path) {
        copy(&from.join("x86_64/repodata"), &self.folder());
    }

    /// Edits what the live decision says; it is signed again by its own key, as a signer gone wrong would.
    fn redecide(&self, edit: impl FnOnce(&mut Value)) {
        let mut statement = self.statement();
        edit(&mut statement);
        write_decision(&self.live(), &statement, decision_key());
    }

    fn statement(&self) -> Value {
        let text = fs::read_to_string(self.live().join("decision.dsse.json")).unwrap();
        let envelope = Envelope::from_json(&text).unwrap();
        serde_json::from_slice(&envelope.open(IN_TOTO, &[decision_key().public()]).unwrap().0).unwrap()
    }

    /// Takes a result out of the decision and lets a waiver stand in for it, which covers it unless it is edited.
    fn waive(&self, edit: impl FnOnce(&mut Value)) {
        self.redecide(|said| {
            let decision = &mut said["predicate"];
            let result = decision["results"].as_array_mut().unwrap().pop().unwrap();
            let made = decision["made"].as_i64().unwrap();
            let mut waiver = json!({
                "id": WAIVER, "target": decision["target"], "suite": result["suite"], "arch": null, "on": null,
                "scope": { "kind": "content", "content": result["content"] }, "by": "rita", "reason": "r",
                "made": made - AGE, "until": made + 1, "revoked": null,
            });
            edit(&mut waiver);
            decision["waivers"] = json!([waiver]);
        });
    }

    /// Edits the live primary, makes everything fit again, and signs it with the SIG's key and the key for decisions.
    fn edit_primary(&self, edit: impl FnOnce(String) -> String) {
        self.edit_file("primary.xml.gz", edit);
    }

    /// The same for another file of the metadata.
    fn edit_file(&self, end: &str, edit: impl FnOnce(String) -> String) {
        let repodata = self.folder().join("repodata");
        let path = only(&repodata, end);
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(fs::File::open(&path).unwrap()).read_to_string(&mut text).unwrap();
        let before = (Digest::of(&fs::read(&path).unwrap()), fs::metadata(&path).unwrap().len(), text.len());
        let text = edit(text);
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        fs::write(&path, &packed).unwrap();
        self.relist("x86_64", |mut repomd| {
            for (old, new) in [
                (format!(">{}<", before.0.as_str()), format!(">{}<", Digest::of(&packed).as_str())),
                (format!("<size>{}<", before.1), format!("<size>{}<", packed.len())),
                (format!("<open-size>{}<", before.2), format!("<open-size>{}<", text.len())),
            ] {
                assert!(repomd.contains(&old), "{old} in {repomd}");
                repomd = repomd.replacen(&old, &new, 1);
            }
            repomd
        });
    }

    /// Edits the list of a folder's metadata, signs it, and has it decided on.
    fn relist(&self, folder: &str, edit: impl FnOnce(String) -> String) {
        let path = self.live().join(folder).join("repodata/repomd.xml");
        fs::write(&path, edit(fs::read_to_string(&path).unwrap())).unwrap();
        let repomd = sign_folder(&self.live().join(folder));
        self.redecide(|statement| {
            for subject in statement["subject"].as_array_mut().unwrap() {
                if subject["name"] == format!("{folder}/repodata/repomd.xml").as_str() {
                    subject["digest"]["sha256"] = json!(Digest::of(&repomd));
                }
            }
        });
    }
}

/// What a list of metadata says of the groups.
fn listed_groups(repomd: &str) -> &str {
    let from = repomd.find("<data type=\"group\">").unwrap();
    let to = from + repomd[from..].find("</data>").unwrap() + "</data>".len();
    &repomd[from..to]
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").args(["-a", "--remove-destination"]).arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

/// The file of a folder's own whose name ends so; links lead to those of former snapshots.
fn only(folder: &Path, end: &str) -> PathBuf {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found = entries.filter(|path| path.to_str().unwrap().ends_with(end) && !path.is_symlink());
    found.next().unwrap_or_else(|| panic!("no {end} in {}", folder.display()))
}

/// The file of the package hello in a tree.
fn hello(root: &Path) -> PathBuf {
    let folder = root.join(format!("live/{TAG}/x86_64/Packages/h"));
    let mut found = Vec::new();
    for digest in fs::read_dir(folder).unwrap() {
        for file in fs::read_dir(digest.unwrap().path()).unwrap() {
            found.push(file.unwrap().path());
        }
    }
    found.sort_by_key(|path| path.file_name().map(std::ffi::OsStr::to_owned));
    found.retain(|path| !path.to_str().unwrap().contains("-doc-"));
    found.pop().unwrap()
}

/// Replaces a file, which may be one with that of a store.
fn rewrite(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

/// Another byte in the payload of hello.
pub(crate) fn flip_a_byte(root: &Path) {
    let path = hello(root);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 12;
    bytes[last] ^= 1;
    rewrite(&path, &bytes);
}

fn provenance(scene: &Scene) -> PathBuf {
    scene.live().join("provenance/hello-2.0-1.el9s.dsse.json")
}

type Tampering = (&'static str, fn(&Scene), &'static str, &'static str);

/// What it is, how it is done, the file that must be named, and what must be said of it.
const TABLE: &[Tampering] = &[
    ("a byte of a package", |s| flip_a_byte(&s.root), "hello-2.0-1.el9s.x86_64.rpm", "SHA-256"),
    (
        "a package cut short",
        |s| {
            let path = hello(&s.root);
            let bytes = fs::read(&path).unwrap();
            rewrite(&path, &bytes[..bytes.len() - 1]);
        },
        "hello-2.0-1.el9s.x86_64.rpm",
        "bytes",
    ),
    (
        "a package that never ends",
        |s| {
            let path = hello(&s.root);
            let bytes = fs::read(&path).unwrap();
            rewrite(&path, &[bytes, vec![0; 4096]].concat());
        },
        "hello-2.0-1.el9s.x86_64.rpm",
        "more bytes than",
    ),
    (
        "a package is gone",
        |s| fs::remove_file(hello(&s.root)).unwrap(),
        "hello-2.0-1.el9s.x86_64.rpm",
        "missing",
    ),
    (
        "a package more, signed by the SIG",
        |s| s.take(&s.more),
        "extra-9.0-1.el9s.x86_64.rpm",
        "no decision let it through",
    ),
    (
        "a package less, signed by the SIG",
        |s| s.take(&s.less),
        "primary.xml.gz",
        "does not list hello-2.0-1.el9s.x86_64",
    ),
    (
        "other bytes under a tested name, signed by the SIG",
        rename_in_primary,
        "hello-2.0-1.el9s.x86_64.rpm",
        "another file of this name",
    ),
    (
        "repomd.xml edited after signing",
        |s| {
            let path = s.folder().join("repodata/repomd.xml");
            let text = fs::read_to_string(&path).unwrap().replace("<revision>", "<revision>9");
            rewrite(&path, text.as_bytes());
        },
        "repodata/repomd.xml.asc",
        "not accepted",
    ),
    (
        "a folder with another revision than the others, well signed",
        |s| s.relist("source", |repomd| repomd.replace("<revision>", "<revision>9")),
        "live/storage9s-gluster-11-testing",
        "the metadata of source has revision",
    ),
    (
        "metadata that names two revisions, well signed",
        |s| s.relist("source", |repomd| repomd.replace("<revision>", "<revision>9</revision><revision>")),
        "source/repodata/repomd.xml",
        "it does not name exactly one revision",
    ),
    (
        "no signature on repomd.xml",
        |s| fs::remove_file(s.folder().join("repodata/repomd.xml.asc")).unwrap(),
        "repodata/repomd.xml.asc",
        "missing",
    ),
    (
        "primary edited",
        |s| {
            let path = only(&s.folder().join("repodata"), "primary.xml.gz");
            let mut bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            rewrite(&path, &bytes);
        },
        "primary.xml.gz",
        "another checksum",
    ),
    (
        "filelists is gone",
        |s| fs::remove_file(only(&s.folder().join("repodata"), "filelists.xml.gz")).unwrap(),
        "filelists.xml.gz",
        "missing",
    ),
    (
        "an older repomd.xml, well signed",
        |s| s.take(&s.old),
        "repodata/repomd.xml",
        "belongs to another snapshot",
    ),
    (
        "the decision of another snapshot",
        |s| copy(&s.old.join("decision.dsse.json"), &s.live()),
        "x86_64/repodata/repomd.xml",
        "not the one that was decided on",
    ),
    (
        "the decision signed by a stranger",
        |s| write_decision(&s.live(), &s.statement(), &DecisionKey::generate().unwrap()),
        "decision.dsse.json",
        "no key that counts",
    ),
    (
        "no decision",
        |s| fs::remove_file(s.live().join("decision.dsse.json")).unwrap(),
        "decision.dsse.json",
        "missing",
    ),
    (
        "the decision of another repo",
        |s| s.redecide(|said| said["predicate"]["tag"] = json!("storage9s-gluster-11-release")),
        "decision.dsse.json",
        "this is storage9s-gluster-11-testing",
    ),
    (
        "a failed suite",
        |s| {
            s.redecide(|said| {
                said["predicate"]["results"][0]["verdict"] =
                    json!({ "kind": "failed", "reason": "it broke" });
            });
        },
        "decision.dsse.json",
        "failed: it broke, and no waiver covers it",
    ),
    (
        "a suite that was not run",
        |s| s.redecide(|said| drop(said["predicate"]["results"].as_array_mut().unwrap().pop())),
        "decision.dsse.json",
        "was not run",
    ),
    (
        "what a change breaks, of no change",
        |s| {
            s.redecide(|said| {
                for result in said["predicate"]["results"].as_array_mut().unwrap() {
                    result.as_object_mut().unwrap().remove("against");
                }
            });
        },
        "decision.dsse.json",
        "required suite repoclosure on x86_64 was not run",
    ),
    (
        "a suite of a layered project that fails, and nothing shows that it failed before",
        |s| s.redecide(|said| fail_above(said, None)),
        "decision.dsse.json",
        "required suite opens of cloud9s-openstack-epoxy-el9s on x86_64 failed",
    ),
    (
        "a suite of a layered project that fails, and passed before",
        |s| s.redecide(|said| fail_above(said, Some("passed"))),
        "decision.dsse.json",
        "required suite opens of cloud9s-openstack-epoxy-el9s on x86_64 failed",
    ),
    (
        "a suite of a layered project that fails, and failed before beside something else",
        |s| {
            s.redecide(|said| {
                fail_above(said, Some("failed"));
                said["predicate"]["before"][0]["environment"] = json!(Digest::of(b"another"));
            });
        },
        "decision.dsse.json",
        "required suite opens of cloud9s-openstack-epoxy-el9s on x86_64 failed",
    ),
    (
        "nothing was required",
        |s| s.redecide(|said| said["predicate"]["required"] = json!([])),
        "decision.dsse.json",
        "required no suite of the project on x86_64",
    ),
    (
        "the results of another content",
        |s| {
            s.redecide(|said| {
                said["predicate"]["results"][0]["content"] = json!(Digest::of(b"other"));
            });
        },
        "decision.dsse.json",
        "about another content",
    ),
    (
        "another body under a tested digest of the content",
        |s| {
            s.redecide(|said| {
                said["predicate"]["members"][0]["rpms"][0]["body"] = json!(Digest::of(b"other"));
            });
        },
        "decision.dsse.json",
        "not that of the packages it lists",
    ),
    (
        "a waiver that has expired",
        |s| s.waive(|waiver| waiver["until"] = json!(waiver["made"].as_i64().unwrap() + AGE)),
        "decision.dsse.json",
        "no waiver covers it",
    ),
    (
        "a waiver of another content",
        |s| s.waive(|waiver| waiver["scope"]["content"] = json!(Digest::of(b"other"))),
        "decision.dsse.json",
        "no waiver covers it",
    ),
    (
        "a waiver of a build that is not in it",
        |s| s.waive(|waiver| waiver["scope"] = json!({ "kind": "build", "build": WAIVER, "nvr": "x-1-1" })),
        "decision.dsse.json",
        "no waiver covers it",
    ),
    (
        "a waiver that was taken back",
        |s| s.waive(|waiver| waiver["revoked"] = json!(["rita", waiver["made"]])),
        "decision.dsse.json",
        "no waiver covers it",
    ),
    (
        "a waiver for another target",
        |s| s.waive(|waiver| waiver["target"] = json!("storage9s-gluster-10-el9s")),
        "decision.dsse.json",
        "no waiver covers it",
    ),
    (
        "a waiver of another suite",
        |s| s.waive(|waiver| waiver["suite"] = json!("smoke")),
        "decision.dsse.json",
        "no waiver covers it",
    ),
    (
        "a waiver of a suite of the project above",
        |s| s.waive(|waiver| waiver["on"] = json!("cloud9s-openstack-1-el9s")),
        "decision.dsse.json",
        "no waiver covers it",
    ),
    (
        "a waiver for another architecture",
        |s| s.waive(|waiver| waiver["arch"] = json!("aarch64")),
        "decision.dsse.json",
        "no waiver covers it",
    ),
    (
        "a path that leads out, decided on",
        |s| s.edit_primary(|text| text.replace("href=\"Packages/h/", "href=\"../../x86_64/Packages/h/")),
        "../../x86_64/Packages/h/",
        "leads out of the repo",
    ),
    (
        "packages at another address",
        |s| s.edit_primary(|text| text.replace("<location ", "<location xml:base=\"http://127.0.0.1:9/\" ")),
        "hello-2.0-1.el9s.x86_64.rpm",
        "another address",
    ),
    (
        "a number of packages that is not theirs",
        |s| s.edit_primary(|text| text.replace("packages=\"2\"", "packages=\"1\"")),
        "primary.xml.gz",
        "says another number",
    ),
    (
        "no provenance",
        |s| fs::remove_file(provenance(s)).unwrap(),
        "provenance/hello-2.0-1.el9s.dsse.json",
        "missing",
    ),
    (
        "the provenance of another build",
        |s| fs::copy(s.old.join("provenance/hello-1.0-1.el9s.dsse.json"), provenance(s)).map(drop).unwrap(),
        "provenance/hello-2.0-1.el9s.dsse.json",
        "it is not about hello-2.0-1.el9s.x86_64.rpm",
    ),
    (
        "provenance signed by a stranger",
        |s| {
            let envelope = Envelope::from_json(&fs::read_to_string(provenance(s)).unwrap()).unwrap();
            let (payload, _) = envelope.open(IN_TOTO, &[decision_key().public()]).unwrap();
            let again = DecisionKey::generate().unwrap().sign(IN_TOTO, &payload);
            fs::write(provenance(s), again.to_json().unwrap()).unwrap();
        },
        "provenance/hello-2.0-1.el9s.dsse.json",
        "no key that counts",
    ),
    (
        "a decision in the place of provenance",
        |s| fs::copy(s.live().join("decision.dsse.json"), provenance(s)).map(drop).unwrap(),
        "provenance/hello-2.0-1.el9s.dsse.json",
        "a statement of the kind",
    ),
    (
        "a repo under a name that is not its own",
        |s| fs::rename(s.live(), s.root.join("live/cloud9s-openstack-1-release")).unwrap(),
        "live/cloud9s-openstack-1-release/decision.dsse.json",
        "this is cloud9s-openstack-1-release",
    ),
    (
        "a known path that leads to another folder",
        |s| {
            let link = s.root.join("buildlogs/centos/9-stream/storage/x86_64/gluster-11");
            fs::remove_file(&link).unwrap();
            std::os::unix::fs::symlink(format!("../../../../../live/{TAG}/debug-x86_64"), &link).unwrap();
        },
        "buildlogs/centos/9-stream/storage/x86_64/gluster-11/repodata/repomd.xml",
        "not the one that was decided on",
    ),
    (
        "a known path that leads to what was live before",
        |s| {
            let link = s.root.join("buildlogs/centos/9-stream/storage/x86_64/gluster-11");
            fs::remove_file(&link).unwrap();
            std::os::unix::fs::symlink(s.old.join("source"), &link).unwrap();
        },
        "buildlogs/centos/9-stream/storage/x86_64/gluster-11/repodata/repomd.xml",
        "not the one that was decided on",
    ),
    (
        "a known path that stays at what was live before",
        |s| {
            let link = s.root.join("buildlogs/centos/9-stream/storage/x86_64/gluster-11");
            fs::remove_file(&link).unwrap();
            std::os::unix::fs::symlink(s.old.join("x86_64"), &link).unwrap();
        },
        "buildlogs/centos/9-stream/storage/x86_64/gluster-11",
        "revision 2 is live",
    ),
    (
        "a key of another SIG",
        |s| fs::rename(s.keys.join("RPM-GPG-KEY-storage"), s.keys.join("RPM-GPG-KEY-cloud")).unwrap(),
        "decision.dsse.json",
        "no key of SIG storage",
    ),
    (
        "other groups",
        |s| rewrite(&only(&s.folder().join("repodata"), "-comps.xml.gz"), b"<comps/>"),
        "-comps.xml.gz",
        "another size",
    ),
    (
        "other groups, well signed and listed",
        |s| s.edit_file("-comps.xml.gz", |text| text.replace("ours", "evil")),
        "-comps.xml.gz",
        "it is not the file that was decided on",
    ),
    (
        "other groups, and a decision that names them without having tested them",
        |s| {
            s.edit_file("-comps.xml.gz", |text| text.replace("ours", "evil"));
            s.redecide(|statement| {
                let evil = Digest::of(COMPS.replace("ours", "evil").as_bytes());
                statement["predicate"]["extras"]["files"][0]["digest"] = json!(evil);
            });
        },
        "decision.dsse.json",
        "the content it names is not that of the packages it lists and of the files beside them",
    ),
    (
        "groups that nobody decided on",
        |s| s.redecide(|statement| drop(statement["predicate"].as_object_mut().unwrap().remove("extras"))),
        "-comps.xml.gz",
        "no decision let it through beside the packages of this folder",
    ),
    (
        "groups in a folder that has none",
        |s| {
            let from = s.folder().join("repodata");
            let group = only(&from, "-comps.xml.gz");
            fs::copy(&group, s.live().join("source/repodata").join(group.file_name().unwrap())).unwrap();
            let list = fs::read_to_string(from.join("repomd.xml")).unwrap();
            s.relist("source", |repomd| {
                repomd.replace("</repomd>", &format!("{}</repomd>", listed_groups(&list)))
            });
        },
        "source/repodata/",
        "no decision let it through beside the packages of this folder",
    ),
    (
        "groups that are left out",
        |s| s.relist("x86_64", |repomd| repomd.replace(listed_groups(&repomd), "")),
        "x86_64/repodata/repomd.xml",
        "it does not list the group that was decided on",
    ),
    (
        "groups that are listed twice",
        |s| {
            s.relist("x86_64", |repomd| {
                repomd.replace("</repomd>", &format!("{}</repomd>", listed_groups(&repomd)))
            });
        },
        "-comps.xml.gz",
        "no decision let it through beside the packages of this folder",
    ),
    (
        "two files of one kind that were decided on",
        |s| {
            s.redecide(|statement| {
                let files = statement["predicate"]["extras"]["files"].as_array_mut().unwrap();
                files.push(files[0].clone());
            });
        },
        "decision.dsse.json",
        "two files of one kind",
    ),
    (
        "a folder is gone",
        |s| fs::remove_dir_all(s.live().join("source")).unwrap(),
        "source/repodata/repomd.xml",
        "missing",
    ),
];

#[tokio::test]
async fn every_way_of_tampering_is_reported() {
    let mut farm = Farm::new();
    let old = farm.publish(&[("hello", "1.0")]).await;
    farm.has_groups = true;
    farm.publish(&[("hello", "2.0")]).await;
    let more = farm.only_stage(&[("hello", "2.0"), ("extra", "9.0")]).await;
    let less = farm.only_stage(&[]).await;
    let (root, keys) = (farm.root(), farm.keys());
    for (name, tamper, file, reason) in TABLE {
        let copies = tempfile::tempdir().unwrap();
        let scene = Scene::of(&root, &keys, copies.path(), [&old, &more, &less]);
        tamper(&scene);
        let report = look(scene.root.to_str().unwrap(), &scene.keys, true).await;
        let said: Vec<String> =
            report.all_violations().map(|v| format!("{}: {}", v.file, v.reason)).collect();
        let reported = report.all_violations().any(|v| v.file.contains(file) && v.reason.contains(reason));
        assert!(reported, "{name}: nobody said `{reason}` of `{file}`, but:\n{}", said.join("\n"));
    }
    let report = look(root.to_str().unwrap(), &keys, true).await;
    assert_eq!(report.all_violations().count(), 0, "the tree that was copied was changed");

    let scene = Scene { old, root: root.clone(), keys: keys.clone(), more, less };
    scene.redecide(|said| fail_above(said, Some("failed")));
    let report = look(root.to_str().unwrap(), &keys, true).await;
    assert_eq!(report.all_violations().count(), 0, "what fails above failed before, too");
}

/// A suite of a project above was required and fails; `before` is what it showed of what was live.
fn fail_above(said: &mut Value, before: Option<&str>) {
    let predicate = &mut said["predicate"];
    let on = "cloud9s-openstack-epoxy-el9s";
    let requirement = json!({ "suite": "opens", "arch": "x86_64", "on": on });
    predicate["required"].as_array_mut().unwrap().push(requirement);
    let mut result = predicate["results"][0].clone();
    (result["suite"], result["on"]) = (json!("opens"), json!(on));
    result["verdict"] = json!({ "kind": "failed", "reason": "it does not open" });
    predicate["results"].as_array_mut().unwrap().push(result.clone());
    if let Some(verdict) = before {
        result["content"] = json!(Digest::of(b"what was live"));
        result["verdict"] = json!({ "kind": verdict, "reason": "it does not open" });
        predicate["before"] = json!([result]);
    }
}

/// The rows of the table about waivers show something only if a waiver that was not edited does cover what is missing.
#[tokio::test]
async fn a_waiver_that_covers_what_is_missing_is_no_fault() {
    let mut farm = Farm::new();
    let live = farm.publish(&[("hello", "1.0")]).await;
    let edits: [fn(&Scene, &mut Value); 3] = [
        |_, _| {},
        |_, waiver| waiver["arch"] = json!("x86_64"),
        |scene, waiver| {
            let build = scene.statement()["predicate"]["members"][0]["build"].clone();
            waiver["scope"] = json!({ "kind": "build", "build": build, "nvr": "hello-1.0-1.el9s" });
        },
    ];
    for edit in edits {
        let copies = tempfile::tempdir().unwrap();
        let scene = Scene::of(&farm.root(), &farm.keys(), copies.path(), [&live; 3]);
        scene.waive(|waiver| edit(&scene, waiver));
        let report = look(scene.root.to_str().unwrap(), &scene.keys, false).await;
        assert_eq!(report.all_violations().collect::<Vec<_>>(), Vec::<&Violation>::new());
    }
}

/// Two snapshots under one revision; and one that everybody has signed as newer, whose metadata clients would take for older.
#[tokio::test]
async fn a_revision_that_stays_or_falls_is_noticed_by_who_has_seen_more() {
    let mut farm = Farm::new();
    let live = farm.publish(&[("hello", "1.0")]).await;
    let copies = tempfile::tempdir().unwrap();
    let scene = Scene::of(&farm.root(), &farm.keys(), copies.path(), [&live; 3]);
    let options = Options { memory: Some(copies.path().join("memory.json")), ..Options::default() };
    let said = async || {
        let place = Place::open(scene.root.to_str().unwrap()).unwrap();
        let report = audit(&place, &Keys::read(&scene.keys).unwrap(), &options).await.unwrap();
        report.all_violations().map(|violation| violation.reason.clone()).collect::<Vec<_>>()
    };
    assert_eq!(said().await, Vec::<String>::new());
    let honest = scene.statement();
    scene.redecide(|said| said["predicate"]["snapshot"] = json!(WAIVER));
    let twice = said().await;
    assert!(
        !twice.is_empty() && twice.iter().all(|why| why.contains("the same revision was seen with snapshot")),
        "{twice:?}"
    );
    write_decision(&scene.live(), &honest, decision_key());
    for folder in ["x86_64", "debug-x86_64", "source"] {
        scene.relist(folder, |repomd| repomd.replace("<revision>1", "<revision>"));
    }
    scene.redecide(|said| said["predicate"]["revision"] = json!(2));
    let said = said().await;
    assert!(
        !said.is_empty() && said.iter().all(|why| why.contains("clients would take it for older")),
        "{said:?}"
    );
}

/// The checksum of hello in primary is that of other bytes, well signed by everybody.
fn rename_in_primary(scene: &Scene) {
    let digest = Digest::of(&fs::read(hello(&scene.root)).unwrap());
    scene.edit_primary(|text| text.replace(digest.as_str(), Digest::of(b"other").as_str()));
}
