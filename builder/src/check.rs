//! What a recipe must keep to before anything is done with it. The hub made it, but much in it was written by
//! packagers, and it ends up in paths, in dnf's configuration and in arguments.

use std::collections::BTreeSet;

use farm::gate::UNDER_TEST;
use farm::recipe::{Recipe, RepoOrigin, RepoSource, Work};

/// Longest file name that every file system takes.
const NAME: usize = 255;

/// Checks a recipe.
///
/// # Errors
/// One sentence about the first thing wrong with it.
pub(crate) fn recipe(recipe: &Recipe) -> Result<(), String> {
    for input in recipe.work.inputs() {
        check(is_segment(&input.name), "an input's name", &input.name)?;
    }
    for repo in &recipe.repos {
        check(is_plain(&repo.name), "a repo's name", &repo.name)?;
        if let RepoOrigin::External { baseurl } = &repo.origin {
            let printable = baseurl.bytes().all(|byte| byte.is_ascii_graphic());
            check(printable && url::Url::parse(baseurl).is_ok(), "a repo's address", baseurl)?;
        }
    }
    repos(&recipe.repos)?;
    if let Some(sharing) = &recipe.sharing {
        check(is_plain(&sharing.target), "the target's name", &sharing.target)?;
    }
    for (name, value) in &recipe.macros {
        check(is_macro(name), "a macro's name", name)?;
        check(!value.contains('\0'), "the value of the macro", name)?;
    }
    match &recipe.work {
        Work::Srpm { spec, tree: _, sources: _ } => {
            check(spec.ends_with(".spec") && spec.split('/').all(is_plain), "the spec's path", spec)
        }
        Work::Build { srpm } => check(is_plain(&srpm.name), "the source RPM's name", &srpm.name),
        Work::Test { suite, packages, folder: _ } => {
            check(is_plain(suite), "the suite's name", suite)?;
            packages.iter().try_for_each(|package| check(is_plain(package), "a package's name", package))
        }
    }
}

/// Repos of the farm are told apart by their names, and nothing else may have the name of the one that is tested.
fn repos(repos: &[RepoSource]) -> Result<(), String> {
    let mut known = BTreeSet::new();
    for repo in repos {
        let is_new = match &repo.origin {
            RepoOrigin::Snapshot { .. } => known.insert(&repo.name),
            RepoOrigin::External { .. } => repo.name != UNDER_TEST,
        };
        if !is_new {
            return Err(format!(
                "the recipe is not valid: a second repo is called {:?}; if a template has an external repo of that name, \
                 call it otherwise there and apply it again",
                repo.name
            ));
        }
    }
    Ok(())
}

fn check(good: bool, what: &str, text: &str) -> Result<(), String> {
    if good { Ok(()) } else { Err(format!("the recipe is not valid: {what} is {text:?}")) }
}

/// One segment of a path: it cannot lead out of the folder it is put in.
pub(crate) fn is_segment(name: &str) -> bool {
    let inside = !name.is_empty() && name.len() <= NAME && name != "." && name != "..";
    inside && !name.chars().any(|c| c == '/' || c.is_control())
}

/// A name of the characters that package names, versions and architectures are made of, which no program takes for
/// an option or a pattern.
pub(crate) fn is_plain(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+~^:-".contains(&byte);
    is_segment(name) && name.bytes().all(plain) && !name.starts_with(['-', '.'])
}

/// A path of several segments, relative.
pub(crate) fn is_inner_path(path: &str) -> bool {
    !path.is_empty() && path.split('/').all(is_segment)
}

fn is_macro(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for bad in ["", ".", "..", "a/b", "/", "a\0", "a\n"] {
            assert!(!is_segment(bad) && !is_plain(bad), "{bad:?}");
        }
        for bad in ["-rf", "--root=/", ".hidden", "a b", "$(x)", "a;b", "*"] {
            assert!(!is_plain(bad), "{bad:?}");
        }
        for good in ["hello-2.12-1.el9.x86_64", "libstdc++-1:4^git~rc1-1.noarch", "base_x86.64"] {
            assert!(is_plain(good), "{good:?}");
        }
        assert!(is_segment("my source (1).tar.gz"));
        assert!(is_inner_path("Packages/h/hello.rpm"));
        for bad in ["/etc/passwd", "a/../b", "a//b", "", "a/"] {
            assert!(!is_inner_path(bad), "{bad:?}");
        }
        assert!(is_macro("_with_x") && !is_macro("1x") && !is_macro("x(o)") && !is_macro("x y"));
    }
}
