//! The files of a recipe. They are read once, so that what is made is what was hashed.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use farm::digest::Digest;

use super::ImageError;

/// What a recipe made of nothing but its base has in place of a Dockerfile.
const BARE: &[u8] = b"ARG BASE\nFROM ${BASE}\n";
const DOCKERFILE: &str = "Dockerfile";

/// A file's content, and whether it can be run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct File {
    content: Vec<u8>,
    runs: bool,
}

/// The files of a recipe, by their paths in its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files(BTreeMap<String, File>);

impl Files {
    /// Reads a folder, over the one it is like.
    pub(super) fn read(folder: &Path, like: Option<&str>) -> Result<Files, ImageError> {
        let mut files = BTreeMap::new();
        if let Some(like) = like {
            gather(&folder.join(like), "", &mut files)?;
        }
        gather(folder, "", &mut files)?;
        Ok(Files(files))
    }

    /// The digest of all of them: of what they are called, of what is in them, and of whether they can be run.
    pub(super) fn digest(&self) -> Digest {
        digest(self.0.iter())
    }

    /// The digest of some of them.
    pub(super) fn digest_of<'a>(&self, names: impl Iterator<Item = &'a str>) -> Result<Digest, ImageError> {
        let mut some = BTreeMap::new();
        for name in names {
            let file = self.0.get(name).ok_or_else(|| ImageError::NoFile(name.to_owned()))?;
            some.insert(name.to_owned(), file);
        }
        Ok(digest(some.iter().map(|(name, file)| (name, *file))))
    }

    /// Writes them into an empty folder.
    pub(super) fn write(&self, folder: &Path) -> Result<(), ImageError> {
        for (name, file) in &self.0 {
            let path = folder.join(name);
            let written = path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| {
                std::fs::write(&path, &file.content)?;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(file.mode()))
            });
            written.map_err(ImageError::file(&path))?;
        }
        Ok(())
    }

    /// A tar of them for the Dockerfile, which is made up where there is none.
    pub(super) fn context(&self) -> Result<Vec<u8>, ImageError> {
        let mut tar = tar::Builder::new(Vec::new());
        let bare = File { content: BARE.to_vec(), runs: false };
        let made_up = (!self.0.contains_key(DOCKERFILE)).then_some((DOCKERFILE, &bare));
        for (name, file) in self.0.iter().map(|(name, file)| (name.as_str(), file)).chain(made_up) {
            let mut header = tar::Header::new_gnu();
            header.set_size(file.content.len() as u64);
            header.set_mode(file.mode());
            tar.append_data(&mut header, name, &file.content[..])
                .map_err(ImageError::file(Path::new(name)))?;
        }
        tar.into_inner().map_err(ImageError::file(Path::new(DOCKERFILE)))
    }
}

impl File {
    fn mode(&self) -> u32 {
        if self.runs { 0o755 } else { 0o644 }
    }
}

fn digest<'a>(files: impl Iterator<Item = (&'a String, &'a File)>) -> Digest {
    let mut text = String::new();
    for (name, File { content, runs }) in files {
        text.push_str(&format!("{name} {} {}\n", u8::from(*runs), Digest::of(content)));
    }
    Digest::of(text.as_bytes())
}

/// What says nothing about the image.
fn is_beside_the_point(name: &str) -> bool {
    name == "README.md" || name == "__pycache__" || name.starts_with('.') || name.ends_with('~')
}

fn gather(folder: &Path, prefix: &str, files: &mut BTreeMap<String, File>) -> Result<(), ImageError> {
    for entry in std::fs::read_dir(folder).map_err(ImageError::file(folder))? {
        let entry = entry.map_err(ImageError::file(folder))?;
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_beside_the_point(&name) {
            continue;
        }
        let meta = std::fs::metadata(&path).map_err(ImageError::file(&path))?;
        if meta.is_dir() {
            gather(&path, &format!("{prefix}{name}/"), files)?;
        } else {
            let content = std::fs::read(&path).map_err(ImageError::file(&path))?;
            files.insert(
                format!("{prefix}{name}"),
                File { content, runs: meta.permissions().mode() & 0o111 != 0 },
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, content: &str) {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    #[test]
    fn the_digest_follows_names_contents_and_modes_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        write(path, "packages", "rpm\n");
        write(path, "sub/names", "gcc\n");
        let digest = || Files::read(path, None).unwrap().digest();
        let first = digest();
        write(path, "README.md", "words");
        write(path, "__pycache__/x.pyc", "");
        write(path, ".packages.swp", "");
        assert_eq!(digest(), first);
        write(path, "packages", "rpm\ndnf\n");
        let second = digest();
        assert_ne!(second, first);
        std::fs::set_permissions(path.join("packages"), std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(digest(), second);
        write(path, "packages", "rpm\n");
        std::fs::set_permissions(path.join("packages"), std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(digest(), first);
    }

    #[test]
    fn a_folder_goes_over_the_one_it_is_like() {
        let root = tempfile::tempdir().unwrap();
        let (large, small) = (root.path().join("large"), root.path().join("small"));
        write(&large, "packages", "gcc\n");
        write(&large, "names", "gcc: gcc\n");
        write(&small, "packages", "rpm\n");
        let files = Files::read(&small, Some("../large")).unwrap();
        assert_eq!(files.0["packages"].content, b"rpm\n");
        assert_eq!(files.0["names"].content, b"gcc: gcc\n");
        let before = files.digest_of(["packages"].into_iter()).unwrap();
        write(&large, "names", "other\n");
        let after = Files::read(&small, Some("../large")).unwrap();
        assert_ne!(after.digest(), files.digest(), "what it takes over belongs to it");
        assert_eq!(after.digest_of(["packages"].into_iter()).unwrap(), before);
        assert!(
            matches!(files.digest_of(["absent"].into_iter()), Err(ImageError::NoFile(name)) if name == "absent")
        );

        let copy = tempfile::tempdir().unwrap();
        after.write(copy.path()).unwrap();
        assert_eq!(Files::read(copy.path(), None).unwrap(), after);
        let context = after.context().unwrap();
        let names: Vec<_> = tar::Archive::new(&context[..])
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().to_string_lossy().into_owned())
            .collect();
        assert_eq!(names, ["names", "packages", "Dockerfile"]);
    }
}
