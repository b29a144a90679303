//! Real RPMs made in memory within milliseconds, for tests: `rpm -i`, `dnf` and `createrepo_c` take them.

use rpm::{
    BuildConfig, CompressionWithLevel, Dependency, FileOptions, Header, HeaderEntry, IndexData, IndexTag,
    Package, PackageBuilder, RpmFormat, SignatureHeaderBuilder,
};

/// The build time and file times of every sample, so that equal samples are equal bytes.
const SOURCE_DATE: u32 = 1_700_000_000;

/// An RPM to be made. Every field may be changed before [`Sample::bytes`].
#[derive(Debug, Clone)]
pub struct Sample {
    /// Its name.
    pub name: String,
    /// Its epoch; 0 for none.
    pub epoch: u32,
    /// Its version.
    pub version: String,
    /// Its release.
    pub release: String,
    /// Its architecture; `src` makes a source RPM.
    pub arch: String,
    /// The names it requires.
    pub requires: Vec<String>,
    /// The names it provides besides its own.
    pub provides: Vec<String>,
    /// The content of its one file: `/usr/share/<name>/sample`, or `<name>.spec` in a source RPM.
    pub content: String,
    /// `ExclusiveArch` of a source RPM.
    pub exclusive: Vec<String>,
    /// `ExcludeArch` of a source RPM.
    pub excluded: Vec<String>,
    /// `BuildArch: noarch` of a source RPM.
    pub noarch: bool,
}

/// A sample with nothing special.
#[must_use]
pub fn sample_rpm(name: &str, version: &str, release: &str, arch: &str) -> Sample {
    Sample {
        name: name.to_owned(),
        epoch: 0,
        version: version.to_owned(),
        release: release.to_owned(),
        arch: arch.to_owned(),
        requires: Vec::new(),
        provides: Vec::new(),
        content: format!("{name}-{version}-{release}\n"),
        exclusive: Vec::new(),
        excluded: Vec::new(),
        noarch: false,
    }
}

impl Sample {
    /// The file name it should have.
    #[must_use]
    pub fn file_name(&self) -> String {
        format!("{}-{}-{}.{}.rpm", self.name, self.version, self.release, self.arch)
    }

    /// The file.
    ///
    /// # Errors
    /// When rpm does not allow such a package.
    pub fn bytes(&self) -> Result<Vec<u8>, rpm::Error> {
        let is_source = self.arch == "src";
        let header_arch = if is_source { "x86_64" } else { &self.arch };
        let summary = format!("A sample called {}", self.name);
        let mut builder = PackageBuilder::new(&self.name, &self.version, "MIT", header_arch, &summary);
        let config = BuildConfig::v4().source_date(SOURCE_DATE).compression(CompressionWithLevel::Gzip(1));
        builder.using_config(config).release(&*self.release).description("A sample.").build_host("localhost");
        if self.epoch > 0 {
            builder.epoch(self.epoch);
        }
        let file = if is_source {
            format!("/{}.spec", self.name)
        } else {
            format!("/usr/share/{}/sample", self.name)
        };
        builder.with_file_contents(self.content.as_bytes(), FileOptions::new(file).permissions(0o644))?;
        for name in &self.requires {
            builder.requires(Dependency::any(name));
        }
        for name in &self.provides {
            builder.provides(Dependency::any(name));
        }
        let package = self.corrected(builder.build()?, is_source)?;
        let mut bytes = Vec::new();
        package.write(&mut bytes)?;
        Ok(bytes)
    }

    /// The builder makes binary packages only and does not let the source package be named, so the header is made
    /// again with what differs.
    fn corrected(&self, package: Package, is_source: bool) -> Result<Package, rpm::Error> {
        let changed = self.changed_tags(is_source);
        let kept = package.metadata.header.get_all_entries()?.into_iter().filter(|(tag, _)| {
            *tag != u32::from(IndexTag::RPMTAG_HEADERIMMUTABLE)
                && !changed.iter().any(|(other, _)| u32::from(*other) == *tag)
        });
        let new = changed.iter().filter_map(|(tag, data)| Some((u32::from(*tag), data.clone()?)));
        let entries: Vec<HeaderEntry> =
            kept.chain(new).map(|(tag, data)| HeaderEntry::new(tag, data)).collect();
        let mut package = package;
        package.metadata.header = Header::from_entries(entries, IndexTag::RPMTAG_HEADERIMMUTABLE);
        let header = package.metadata.header_bytes()?;
        package.metadata.signature = SignatureHeaderBuilder::new()
            .format(RpmFormat::V4)
            .set_content_length((header.len() + package.payload.len()) as u64)
            .calculate_digests(&header)
            .build()?;
        Ok(package)
    }

    /// Tags with another value than the builder gives them; `None` for those that must go.
    fn changed_tags(&self, is_source: bool) -> Vec<(IndexTag, Option<IndexData>)> {
        if !is_source {
            let source = format!("{}-{}-{}.src.rpm", self.name, self.version, self.release);
            return vec![(IndexTag::RPMTAG_SOURCERPM, Some(IndexData::StringTag(source)))];
        }
        let list = |names: &[String]| (!names.is_empty()).then(|| IndexData::StringArray(names.to_vec()));
        let build_archs = self.noarch.then(|| IndexData::StringArray(vec!["noarch".to_owned()]));
        vec![
            (IndexTag::RPMTAG_SOURCERPM, None),
            (IndexTag::RPMTAG_SOURCEPACKAGE, Some(IndexData::Int32(vec![1]))),
            (IndexTag::RPMTAG_DIRNAMES, Some(IndexData::StringArray(vec![String::new()]))),
            (IndexTag::RPMTAG_PROVIDENAME, None),
            (IndexTag::RPMTAG_PROVIDEVERSION, None),
            (IndexTag::RPMTAG_PROVIDEFLAGS, None),
            (IndexTag::RPMTAG_EXCLUSIVEARCH, list(&self.exclusive)),
            (IndexTag::RPMTAG_EXCLUDEARCH, list(&self.excluded)),
            (IndexTag::RPMTAG_BUILDARCHS, build_archs),
        ]
    }
}
