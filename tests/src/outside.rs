//! A repo that belongs to nobody here.

use std::path::Path;

use farm::digest::Digest;

/// Makes of this folder a repo outside without packages, or moves it there, in a state of that name.
pub fn outside_repo(folder: &Path, state: &str) {
    let index = |kind: &str, root: &str| {
        let text = format!("<?xml version=\"1.0\"?>\n<{root} packages=\"0\"></{root}>\n<!-- {state} -->\n");
        let href = format!("repodata/{state}-{kind}.xml");
        std::fs::write(folder.join(&href), &text).expect("the repo outside is written");
        format!(
            "<data type=\"{kind}\"><checksum type=\"sha256\">{}</checksum><location href=\"{href}\"/><size>{}</size></data>",
            Digest::of(text.as_bytes()).as_str(),
            text.len()
        )
    };
    std::fs::create_dir_all(folder.join("repodata")).expect("the repo outside is written");
    let indexes = index("primary", "metadata") + &index("filelists", "filelists");
    let repomd = format!("<repomd><revision>{state}</revision>{indexes}</repomd>");
    std::fs::write(folder.join("repodata/next"), repomd).expect("the repo outside is written");
    std::fs::rename(folder.join("repodata/next"), folder.join("repodata/repomd.xml"))
        .expect("the repo outside is written");
}
