//! Counts what a suite's JUnit files say.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// What one or more JUnit files say.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Test cases.
    pub(crate) cases: u64,
    /// Test cases that failed or could not be run.
    pub(crate) failed: u64,
    /// The name of the first of those.
    pub(crate) first: Option<String>,
}

impl Tally {
    /// Adds a file.
    ///
    /// # Errors
    /// What is wrong with it, if it is not JUnit.
    pub(crate) fn add(&mut self, xml: &str) -> Result<(), String> {
        let mut reader = Reader::from_str(xml);
        let (mut announced, mut found, mut case, mut is_junit) = (0, 0, None, false);
        loop {
            match reader.read_event().map_err(|error| error.to_string())? {
                Event::Start(tag) => {
                    self.open(&tag, &mut announced, &mut found, &mut case, &mut is_junit);
                }
                // A test case without content passed.
                Event::Empty(tag) if tag.local_name().as_ref() == "testcase" => self.cases += 1,
                Event::Empty(tag) => {
                    self.open(&tag, &mut announced, &mut found, &mut case, &mut is_junit);
                }
                Event::End(tag) if tag.local_name().as_ref() == "testcase" => case = None,
                Event::Eof => break,
                Event::End(_)
                | Event::Text(_)
                | Event::CData(_)
                | Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_)
                | Event::GeneralRef(_) => {}
            }
        }
        if !is_junit {
            return Err("there is no <testsuite> in it".to_owned());
        }
        // Some tools give only the sums, some only the elements.
        self.failed += found.max(announced);
        Ok(())
    }

    fn open(
        &mut self,
        tag: &BytesStart<'_>,
        announced: &mut u64,
        found: &mut u64,
        case: &mut Option<Case>,
        is_junit: &mut bool,
    ) {
        match tag.local_name().as_ref() {
            "testsuites" => *is_junit = true,
            "testsuite" => {
                *is_junit = true;
                *announced += number(tag, "failures") + number(tag, "errors");
            }
            "testcase" => {
                self.cases += 1;
                *case = Some(Case { name: attribute(tag, "name"), failed: false });
            }
            "failure" | "error" => {
                if let Some(case) = case.as_mut().filter(|case| !case.failed) {
                    case.failed = true;
                    *found += 1;
                    self.first = self.first.take().or_else(|| case.name.clone());
                }
            }
            _ => {}
        }
    }
}

struct Case {
    name: Option<String>,
    failed: bool,
}

fn number(tag: &BytesStart<'_>, name: &str) -> u64 {
    attribute(tag, name).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn attribute(tag: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = tag.try_get_attribute(name).ok()??;
    Some(attribute.value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(xml: &str) -> Tally {
        let mut tally = Tally::default();
        tally.add(xml).unwrap();
        tally
    }

    #[test]
    fn failures_and_errors_are_counted_once_however_they_are_written() {
        let passed = tally(
            r#"<testsuite tests="2" failures="0"><testcase name="a"/><testcase name=""></testcase></testsuite>"#,
        );
        assert_eq!(passed, Tally { cases: 2, failed: 0, first: None });

        let both = tally(
            r#"<?xml version="1.0"?><testsuites><testsuite failures="1" errors="1"><testcase name="a"/>
               <testcase name=""><failure message="no"/></testcase>
               <testcase name="c"><error>x</error><error/></testcase></testsuite></testsuites>"#,
        );
        assert_eq!(both, Tally { cases: 3, failed: 2, first: Some("".to_owned()) });

        assert_eq!(tally(r#"<testsuite failures="3"/>"#).failed, 3);
        assert_eq!(tally("<testsuite><testcase><skipped/></testcase></testsuite>").failed, 0);
    }

    #[test]
    fn what_is_not_junit_is_not_taken_for_a_success() {
        assert!(Tally::default().add("<html/>").unwrap_err().contains("testsuite"));
        assert!(Tally::default().add("<testsuite><testcase></testsuite>").is_err());
        assert!(Tally::default().add("").is_err());
    }
}
