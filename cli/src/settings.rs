//! Which hub, and as whom: from the command line, the environment and `~/.config/grange/config.toml`, the nearest first.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use url::Url;

use crate::failure::Failure;
use crate::strict;

/// Where a hub is looked for when nothing says where it is.
pub const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// The variables of the environment, held as a value so that tests have their own.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The process's own.
    #[must_use]
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// A variable that is set to something.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Every variable, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Environment(variables.into_iter().collect())
    }
}

/// What the command line says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--url`
    pub url: Option<String>,
    /// `--token-file`
    pub token_file: Option<PathBuf>,
}

/// Which hub, and as whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// The hub.
    pub url: Url,
    /// The person's token, if there is one.
    pub token: Option<String>,
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let token = self.token.as_ref().map(|_| "…");
        f.debug_struct("Settings").field("url", &self.url.as_str()).field("token", &token).finish()
    }
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
struct File {
    url: Option<String>,
    token: Option<String>,
    token_file: Option<PathBuf>,
}

/// Where the configuration file is: `GRANGE_CONFIG`, else below `XDG_CONFIG_HOME`, else below `~/.config`.
///
/// # Errors
/// When the environment names no home.
pub fn file_path(environment: &Environment) -> Result<PathBuf, Failure> {
    if let Some(named) = environment.get("GRANGE_CONFIG") {
        return Ok(PathBuf::from(named));
    }
    let folder = environment
        .get("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| environment.get("HOME").map(|home| Path::new(home).join(".config")))
        .ok_or_else(|| {
            Failure::usage("there is no home folder for the configuration file", "set HOME or GRANGE_CONFIG")
        })?;
    Ok(folder.join("grange").join("config.toml"))
}

impl Settings {
    /// Puts together what the command line, the environment and the file say. A token of the file is sent only to
    /// the hub of the file: who names another hub names their token for it too.
    ///
    /// # Errors
    /// [`Failure::Usage`] when the file is unreadable, or the address is none.
    pub fn gather(flags: &Flags, environment: &Environment) -> Result<Settings, Failure> {
        let file = read_file(environment)?;
        let file_url = file.url.as_deref().unwrap_or(DEFAULT_URL);
        let url = parse_url(flags.url.as_deref().or(environment.get("GRANGE_URL")).unwrap_or(file_url))?;
        let token = if let Some(path) = &flags.token_file {
            Some(read_token(path)?)
        } else if let Some(token) = environment.get("GRANGE_TOKEN") {
            Some(token.to_owned())
        } else if parse_url(file_url).is_ok_and(|of_file| of_file == url) {
            match (file.token, &file.token_file) {
                (Some(token), _) => Some(token),
                (None, Some(path)) => Some(read_token(path)?),
                (None, None) => None,
            }
        } else {
            None
        };
        if token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(Failure::usage(
                "the token is not one line of visible characters",
                "`grange login` reads and keeps it",
            ));
        }
        Ok(Settings { url, token })
    }
}

fn read_file(environment: &Environment) -> Result<File, Failure> {
    let Ok(path) = file_path(environment) else { return Ok(File::default()) };
    match std::fs::read_to_string(&path) {
        Ok(text) => strict::read(&path.display().to_string(), &text),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(File::default()),
        Err(error) => {
            Err(Failure::usage(format!("cannot read {}: {error}", path.display()), "make it readable"))
        }
    }
}

/// A token's file.
///
/// # Errors
/// [`Failure::Usage`] when it cannot be read or is empty.
pub fn read_token(path: &Path) -> Result<String, Failure> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!("cannot read the token from {}: {error}", path.display()), "name another file")
    })?;
    let token = text.trim();
    if token.is_empty() {
        return Err(Failure::usage(
            format!("the token file {} is empty", path.display()),
            "put the token into it",
        ));
    }
    Ok(token.to_owned())
}

/// A hub's address.
///
/// # Errors
/// [`Failure::Usage`] when it is none.
pub fn parse_url(text: &str) -> Result<Url, Failure> {
    let fix = "it looks like https://grange.example.org";
    let url = Url::parse(text.trim_end_matches('/'))
        .map_err(|error| Failure::usage(format!("`{text}` is not the address of a hub: {error}"), fix))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(Failure::usage(format!("`{text}` is not the address of a hub"), fix)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Environment {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn file(text: &str) -> (tempfile::TempDir, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        std::fs::write(&path, text).unwrap();
        (folder, path.display().to_string())
    }

    #[test]
    fn nothing_said_means_this_machine_and_nobody() {
        let settings = Settings::gather(&Flags::default(), &Environment::default()).unwrap();
        assert_eq!(settings.url.as_str(), "http://127.0.0.1:8080/");
        assert_eq!(settings.token, None);
    }

    #[test]
    fn the_command_line_goes_before_the_environment_and_that_before_the_file() {
        let (folder, path) = file("url = \"https://file.example\"\ntoken = \"of-file\"\n");
        let of_file = Settings::gather(&Flags::default(), &environment(&[("GRANGE_CONFIG", &path)])).unwrap();
        assert_eq!(
            (of_file.url.as_str(), of_file.token.as_deref()),
            ("https://file.example/", Some("of-file"))
        );

        let variables = environment(&[
            ("GRANGE_CONFIG", &path),
            ("GRANGE_URL", "https://env.example/"),
            ("GRANGE_TOKEN", "of-env"),
        ]);
        let of_env = Settings::gather(&Flags::default(), &variables).unwrap();
        assert_eq!((of_env.url.as_str(), of_env.token.as_deref()), ("https://env.example/", Some("of-env")));

        let token_file = folder.path().join("token");
        std::fs::write(&token_file, "of-flag\n").unwrap();
        let flags = Flags { url: Some("https://flag.example".into()), token_file: Some(token_file) };
        let of_flags = Settings::gather(&flags, &variables).unwrap();
        assert_eq!(
            (of_flags.url.as_str(), of_flags.token.as_deref()),
            ("https://flag.example/", Some("of-flag"))
        );
    }

    #[test]
    fn the_files_token_is_not_sent_to_another_hub() {
        let (_folder, path) = file("url = \"https://file.example\"\ntoken = \"of-file\"\n");
        let flags = Flags { url: Some("https://other.example".into()), token_file: None };
        let settings = Settings::gather(&flags, &environment(&[("GRANGE_CONFIG", &path)])).unwrap();
        assert_eq!(settings.token, None);
    }

    #[test]
    fn a_wrong_file_is_a_usage_failure_that_names_the_line_and_the_key_meant() {
        let (_folder, path) = file("url = \"https://file.example\"\ntokn = \"x\"\n");
        let failure =
            Settings::gather(&Flags::default(), &environment(&[("GRANGE_CONFIG", &path)])).unwrap_err();
        let Failure::Usage { what, fix } = failure else { panic!("{failure:?}") };
        assert!(what.contains("config.toml:2:"), "{what}");
        assert_eq!(fix, "did you mean `token`?");
        assert!(matches!(parse_url("grange.example.org"), Err(Failure::Usage { .. })));
        assert!(matches!(parse_url("ftp://grange.example.org"), Err(Failure::Usage { .. })));
    }

    #[test]
    fn the_file_is_below_the_home_folder() {
        let of_home = file_path(&environment(&[("HOME", "/home/ada")])).unwrap();
        assert_eq!(of_home, Path::new("/home/ada/.config/grange/config.toml"));
        let of_xdg = file_path(&environment(&[("HOME", "/home/ada"), ("XDG_CONFIG_HOME", "/x")])).unwrap();
        assert_eq!(of_xdg, Path::new("/x/grange/config.toml"));
        assert!(file_path(&Environment::default()).is_err());
    }

    #[test]
    fn a_token_is_never_printed() {
        let settings = Settings { url: parse_url(DEFAULT_URL).unwrap(), token: Some("secret".into()) };
        assert!(!format!("{settings:?}").contains("secret"));
    }
}
