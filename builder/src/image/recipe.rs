//! What a recipe says: `recipe.toml`.

use serde::Deserialize;

/// What the file is called.
pub const RECIPE_FILE: &str = "recipe.toml";

/// Hexadecimal digits of a SHA-256.
const SHA256_DIGITS: usize = 64;

/// How an image is made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Recipe {
    /// What the image is called; its tags are the architecture, and the recipe's digest with the architecture.
    pub name: String,
    /// Another recipe's folder, relative to this one's: its files belong to this recipe too, unless this one has a file of
    /// the same name.
    pub like: Option<String>,
    /// What the Dockerfile starts from.
    pub base: Base,
    /// May the Dockerfile's commands reach a network?
    pub network: bool,
}

/// What the Dockerfile starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Base {
    /// A root that a script of the folder makes. It is run as root, with the architecture in rpm's words and the path of the
    /// uncompressed tar to write.
    Bootstrap {
        /// The script.
        script: String,
        /// The files that it reads: the base is made anew when one of them changes, or the script.
        reads: Vec<String>,
    },
    /// An image of a registry, `name@sha256:…`.
    Pull {
        /// Which one.
        image: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Bootstrap,
    Pull,
}

/// The file's own shape.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    kind: Kind,
    name: String,
    like: Option<String>,
    script: Option<String>,
    reads: Option<Vec<String>>,
    image: Option<String>,
    #[serde(default)]
    network: bool,
}

impl TryFrom<Written> for Recipe {
    type Error = String;

    fn try_from(written: Written) -> Result<Recipe, String> {
        let Written { kind, name, like, script, reads, image, network } = written;
        if !is_name(&name) {
            return Err(format!(
                "name = \"{name}\" is no name for an image: use lowercase letters, digits, `.`, `_`, `-` and `/`, and no tag"
            ));
        }
        let base = match (kind, script, reads, image) {
            (Kind::Bootstrap, Some(script), reads, None) => {
                Base::Bootstrap { script, reads: reads.unwrap_or_default() }
            }
            (Kind::Bootstrap, None, _, None) => {
                return Err("kind = \"bootstrap\" needs `script`, the file that makes the root".to_owned());
            }
            (Kind::Bootstrap, _, _, Some(_)) => {
                return Err("`image` belongs to kind = \"pull\"; here the script makes the root".to_owned());
            }
            (Kind::Pull, None, None, Some(image)) => Base::Pull { image: pinned(image)? },
            (Kind::Pull, None, None, None) => {
                return Err("kind = \"pull\" needs `image`, as name@sha256:…".to_owned());
            }
            (Kind::Pull, _, _, _) => {
                return Err("`script` and `reads` belong to kind = \"bootstrap\"".to_owned());
            }
        };
        Ok(Recipe { name, like, base, network })
    }
}

fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
        part.starts_with(|c: char| c.is_ascii_alphanumeric()) && part.bytes().all(allowed)
    };
    name.split('/').all(part)
}

/// An image by its digest. A tag may mean something else tomorrow, and then the same recipe would make another image.
fn pinned(image: String) -> Result<String, String> {
    match image.split_once("@sha256:") {
        Some((name, digest)) if !name.is_empty() && is_sha256(digest) => Ok(image),
        Some(_) => {
            Err(format!("image = \"{image}\": after @sha256: come {SHA256_DIGITS} hexadecimal digits"))
        }
        None => Err(format!(
            "image = \"{image}\" names no digest: what a tag means changes, and the same recipe would make another \
             image tomorrow; write name@sha256:…, which `docker image inspect` shows under RepoDigests"
        )),
    }
}

fn is_sha256(digest: &str) -> bool {
    digest.len() == SHA256_DIGITS
        && digest.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> Result<Recipe, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn two_kinds_are_read() {
        let made = read(
            json!({"kind": "bootstrap", "name": "grange/debian-rpm", "script": "bootstrap", "reads": ["packages"]}),
        );
        let base = Base::Bootstrap { script: "bootstrap".into(), reads: vec!["packages".into()] };
        assert_eq!(made, Ok(Recipe { name: "grange/debian-rpm".into(), like: None, base, network: false }));
        let image = format!("registry.example.org:5000/centos/centos@sha256:{}", "0a".repeat(32));
        let pulled =
            read(json!({"kind": "pull", "name": "grange/centos", "image": image, "network": true})).unwrap();
        assert_eq!((pulled.base, pulled.network), (Base::Pull { image }, true));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_the_reason() {
        let digest = "0a".repeat(32);
        for (value, said) in [
            (json!({"kind": "pull", "name": "a", "image": "centos:stream9"}), "what a tag means changes"),
            (json!({"kind": "pull", "name": "a", "image": "centos"}), "names no digest"),
            (json!({"kind": "pull", "name": "a", "image": "centos@sha256:12"}), "64 hexadecimal digits"),
            (
                json!({"kind": "pull", "name": "a", "image": format!("@sha256:{digest}")}),
                "64 hexadecimal digits",
            ),
            (json!({"kind": "pull", "name": "a"}), "needs `image`"),
            (
                json!({"kind": "pull", "name": "a", "image": "x", "script": "y"}),
                "belong to kind = \"bootstrap\"",
            ),
            (json!({"kind": "bootstrap", "name": "a"}), "needs `script`"),
            (
                json!({"kind": "bootstrap", "name": "a", "script": "y", "image": "x"}),
                "belongs to kind = \"pull\"",
            ),
            (json!({"kind": "bootstrap", "name": "A:1", "script": "y"}), "no name for an image"),
            (json!({"kind": "bootstrap", "name": "a", "scirpt": "y"}), "unknown field `scirpt`"),
            (json!({"kind": "build", "name": "a"}), "unknown variant `build`"),
        ] {
            let why = read(value.clone()).unwrap_err();
            assert!(why.contains(said), "{value}: {why}");
        }
    }
}
