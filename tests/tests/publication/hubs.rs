//! Hubs and signers of one data folder and one ledger, which come and go.

use std::path::Path;

use farm::job::Patience;
use farm::ledger::Db;
use farm::wire::Bus;
use hub::state::Hub;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::policy::OUTSIDE;

/// Milliseconds a signer waits for something to do before it looks at its keys again.
const SIGNER_WAIT: u64 = 100;

/// A hub that is served at an address of its own, until this is dropped.
pub(crate) struct Served {
    pub(crate) hub: Hub,
    pub(crate) url: String,
    _at_work: JoinSet<()>,
}

impl Served {
    /// Opens a hub, which remembers nothing: it finds what is on the disk and in the ledger. It tells people to come to `front`,
    /// or to itself.
    pub(crate) async fn begin(db: &Db, data: &Path, front: Option<&str>) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let patience = Patience {
            offer_ms: 20,
            lease_ms: 20,
            stop_ms: 20,
            max_tries: 1_000,
            backoff_ms: 0,
            ..Default::default()
        };
        let config = hub::config::Config {
            data: data.to_owned(),
            public_url: front.unwrap_or(&url).to_owned(),
            file_repos: vec![data.join(OUTSIDE)],
            patience,
            ..Default::default()
        };
        let hub = Hub::open(db.clone(), Bus::local(), config).unwrap();
        let mut at_work = JoinSet::new();
        let (never, stopped) = watch::channel(false);
        let served = hub.clone();
        at_work.spawn(async move {
            let _never_told = never;
            hub::serve(served, listener, stopped).await.unwrap();
        });
        Served { hub, url, _at_work: at_work }
    }
}

/// A signer at work, until this is dropped: wherever it is then, it dies there.
pub(crate) struct AtTheDesk {
    /// The address of the hub it speaks to.
    pub(crate) url: String,
    _at_work: JoinSet<()>,
}

impl AtTheDesk {
    /// A signer that speaks to this hub.
    pub(crate) fn begin(db: &Db, served: &Served, data: &Path) -> AtTheDesk {
        let (parts, config) = tests::signer(db, &served.hub, &served.url, &data.join("keys"));
        let config = signer::Config { wait_ms: SIGNER_WAIT, ..config };
        let (never, stopped) = watch::channel(false);
        let mut at_work = JoinSet::new();
        at_work.spawn(async move {
            let _never_told = never;
            signer::run(parts, config, stopped).await.unwrap();
        });
        AtTheDesk { url: served.url.clone(), _at_work: at_work }
    }
}
