//! How signing stands: what waits for it, whether a signer is there, and until when its keys count.

use std::collections::BTreeMap;

use farm::ledger::Tx;
use farm::sig::Community;
use farm::signing::{HeardSigner, Purpose, SigningKey};
use farm::stamp::Stamp;

use super::standing::Page;
use crate::problem::Answer;

/// What the figures are made of.
#[derive(Default)]
pub(super) struct Signing {
    /// Promotions that the gate has let through and that are not published yet.
    waiting: usize,
    signers: Vec<HeardSigner>,
    keys: Vec<SigningKey>,
}

impl Signing {
    pub(super) async fn read(tx: &mut Tx, community: &Community) -> Answer<Signing> {
        let waiting = tx.approved_promotions().await?.len();
        let mut keys = tx.signing_keys().await?;
        keys.retain(|key| key.purpose == Purpose::Decisions || community.sig(&key.sig).is_some());
        Ok(Signing { waiting, signers: tx.signers().await?, keys })
    }

    pub(super) fn tell(&self, page: &mut Page, now: Stamp) {
        page.family(
            "grange_promotions_to_sign",
            "Promotions that the gate has let through and that are not published yet",
        );
        page.figure(&[], self.waiting);
        page.family(
            "grange_signer_silent_seconds",
            "Since when no signer was heard of, if there ever was one",
        );
        if let Some(latest) = self.signers.iter().map(|heard| heard.at).max() {
            page.figure(&[], (now - latest).as_secs());
        }
        page.family("grange_signer_troubles", "Promotions that a signer cannot or will not sign");
        for heard in &self.signers {
            page.figure(&[("signer", &heard.word.name)], heard.word.troubles.len());
        }
        page.family(
            "grange_signing_key_ends_seconds",
            "Until the last key for this counts no more, where that is settled; negative when it is past",
        );
        let mut ends: BTreeMap<(&str, &str), Option<Stamp>> = BTreeMap::new();
        for key in &self.keys {
            let end = ends.entry((key.purpose.as_str(), &key.sig)).or_insert(key.until);
            // One whose end is open counts for ever.
            *end = end.zip(key.until).map(|(one, other)| one.max(other));
        }
        for ((purpose, sig), end) in ends {
            if let Some(end) = end {
                page.figure(&[("purpose", purpose), ("sig", sig)], (end.millis() - now.millis()) / 1_000);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use farm::signing::SignerWord;

    use super::*;

    #[test]
    fn keys_end_when_the_last_of_them_does() {
        let now = Stamp::from_millis(1_000_000);
        let key = |fingerprint: &str, sig: &str, until: Option<i64>| SigningKey {
            fingerprint: fingerprint.to_owned(),
            purpose: if sig.is_empty() { Purpose::Decisions } else { Purpose::Packages },
            sig: sig.to_owned(),
            public: String::new(),
            since: Stamp::ZERO,
            until: until.map(Stamp::from_millis),
        };
        let heard = |name: &str, at: i64| HeardSigner {
            word: SignerWord { name: name.to_owned(), troubles: BTreeMap::new() },
            at: Stamp::from_millis(at),
        };
        let signing = Signing {
            waiting: 2,
            signers: vec![heard("old", 400_000), heard("new", 990_000)],
            keys: vec![
                key("1", "a", Some(1_060_000)),
                key("2", "a", Some(1_600_000)),
                key("3", "b", Some(1_060_000)),
                key("4", "b", None),
                key("5", "", Some(940_000)),
            ],
        };
        let mut page = Page::default();
        signing.tell(&mut page, now);
        let figures: Vec<&str> = page.text().lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            figures,
            [
                "grange_promotions_to_sign 2",
                "grange_signer_silent_seconds 10",
                "grange_signer_troubles{signer=\"old\"} 0",
                "grange_signer_troubles{signer=\"new\"} 0",
                "grange_signing_key_ends_seconds{purpose=\"decisions\",sig=\"\"} -60",
                "grange_signing_key_ends_seconds{purpose=\"packages\",sig=\"a\"} 600",
            ]
        );
    }
}
