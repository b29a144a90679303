//! Which base images the engine has, and which of them nobody needs any more.

use std::collections::BTreeSet;

use super::{ARCH, BASE, ImageError, MADE, RECIPE};
use crate::engine::{Engine, Image, Owner};

/// A base image, as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its references.
    pub tags: Vec<String>,
    /// Its architecture, in rpm's words.
    pub arch: String,
    /// The digest of its recipe; `None` for what a Dockerfile starts from.
    pub recipe: Option<String>,
    /// When it was made, as RFC 3339 writes it.
    pub made: String,
    /// Its size; what it shares with others counts in each.
    pub bytes: u64,
    /// The last one made of its name and architecture, or what that one was made from.
    pub current: bool,
}

/// The base images that recipes made here.
///
/// # Errors
/// If the engine does not answer.
pub async fn inventory(engine: &Engine) -> Result<Vec<Kept>, ImageError> {
    let images = ours(engine).await?;
    let superseded: BTreeSet<String> = superseded(&images).into_iter().collect();
    let mut kept: Vec<Kept> = images
        .into_iter()
        .map(|mut image| {
            image.tags.sort();
            let label = |name: &str| image.labels.get(name).cloned();
            Kept {
                arch: label(ARCH).unwrap_or_default(),
                recipe: label(RECIPE),
                made: label(MADE).unwrap_or_default(),
                bytes: image.bytes,
                current: !image.tags.iter().any(|tag| superseded.contains(tag)),
                tags: image.tags,
            }
        })
        .collect();
    kept.sort_by(|a, b| a.tags.cmp(&b.tags));
    Ok(kept)
}

/// Removes the base images that have been superseded; gives the references that are gone, and those that are still in use
/// with what the engine says of it.
///
/// # Errors
/// If the engine does not answer.
pub async fn prune(engine: &Engine) -> Result<(Vec<String>, Vec<(String, String)>), ImageError> {
    let (mut gone, mut used) = (Vec::new(), Vec::new());
    for reference in superseded(&ours(engine).await?) {
        match engine.untag(&reference).await {
            Ok(()) => gone.push(reference),
            Err(error) => used.push((reference, error.to_string())),
        }
    }
    Ok((gone, used))
}

async fn ours(engine: &Engine) -> Result<Vec<Image>, ImageError> {
    let mut images = engine.base_images(ARCH).await?;
    let (builder, _) = Owner::builder_label("");
    // What a builder commits inherits the labels of what it started from.
    images.retain(|image| !image.labels.contains_key(builder) && !image.tags.is_empty());
    Ok(images)
}

/// The references of images that have been superseded: another image bears the tag of their name and architecture now.
/// Of the bases those stay that an image which stays was made from, since making them is the slow part.
#[must_use]
pub fn superseded(images: &[Image]) -> Vec<String> {
    let (made, bases): (Vec<&Image>, Vec<&Image>) =
        images.iter().partition(|image| image.labels.contains_key(RECIPE));
    let (current, old): (Vec<&Image>, Vec<&Image>) = made.into_iter().partition(|image| is_current(image));
    let needed: BTreeSet<&String> = current.iter().filter_map(|image| image.labels.get(BASE)).collect();
    // Podman shows a name with a registry before it that nobody wrote.
    let means = |tag: &String, name: &String| {
        tag.strip_suffix(name.as_str()).is_some_and(|before| before.is_empty() || before.ends_with('/'))
    };
    let is_needed = |base: &&Image| base.tags.iter().any(|tag| needed.iter().any(|name| means(tag, name)));
    let bases = bases.into_iter().filter(|base| !is_needed(base));
    old.into_iter().chain(bases).flat_map(|image| image.tags.clone()).collect()
}

fn is_current(image: &Image) -> bool {
    let arch = image.labels.get(ARCH).map(String::as_str);
    image.tags.iter().any(|tag| tag.rsplit_once(':').map(|(_, tag)| tag) == arch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(tags: &[&str], labels: &[(&str, &str)]) -> Image {
        Image {
            id: tags.first().map_or_else(String::new, |tag| (*tag).to_owned()),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            bytes: 1,
        }
    }

    #[test]
    fn only_what_another_has_replaced_is_superseded() {
        let made = |tags: &[&str], arch, base| image(tags, &[(ARCH, arch), (RECIPE, "r"), (BASE, base)]);
        let images = [
            made(&["x/a:111-x86_64"], "x86_64", "x/a-base:old-x86_64"),
            made(&["x/a:222-x86_64", "x/a:x86_64"], "x86_64", "x/a-base:new-x86_64"),
            made(&["x/a:111-s390x", "x/a:s390x"], "s390x", "x/a-base:old-s390x"),
            image(&["x/a-base:old-x86_64"], &[(ARCH, "x86_64"), (BASE, "x/a-base:old-x86_64")]),
            image(&["localhost/x/a-base:new-x86_64"], &[(ARCH, "x86_64"), (BASE, "x/a-base:new-x86_64")]),
            image(&["x/a-base:old-s390x"], &[(ARCH, "s390x"), (BASE, "x/a-base:old-s390x")]),
        ];
        assert_eq!(superseded(&images), ["x/a:111-x86_64", "x/a-base:old-x86_64"]);
        assert_eq!(superseded(&images[1..3]), Vec::<String>::new());
    }
}
