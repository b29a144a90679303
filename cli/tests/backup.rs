//! A backup of a farm at work, put back elsewhere.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use std::path::Path;

use cli::standalone::{Options, start};
use common::{grange, told};
use farm::digest::Digest;

fn stored(data: &Path, digest: &Digest) -> std::path::PathBuf {
    data.join("artifacts").join(&digest.as_str()[..2]).join(digest.as_str())
}

#[tokio::test]
async fn a_farm_at_work_is_backed_up_and_restored_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let [data, backup, elsewhere] = ["data", "backup", "elsewhere"].map(|name| folder.path().join(name));
    let [at_data, at_backup, at_elsewhere] = [&data, &backup, &elsewhere].map(|path| path.to_str().unwrap());
    let mut options = Options::anywhere(&data);
    options.config.builder.slots = 0;
    let farm = start(options).await.unwrap();
    let ada = farm.add_person("ada", false).await.unwrap();
    let digest = Digest::of(b"a source");
    std::fs::create_dir_all(stored(&data, &digest).parent().unwrap()).unwrap();
    std::fs::write(stored(&data, &digest), "a source").unwrap();
    let mut tx = farm.db().write().await.unwrap();
    tx.hold("lookaside", &digest).await.unwrap();
    tx.commit().await.unwrap();
    // An attempt that the ledger does not know: it began after the ledger was copied.
    let later = data.join("logs/01M7YZT9Z2C9GJ8213CNBEP30D/1");
    std::fs::create_dir_all(&later).unwrap();

    grange(&["admin", "backup", at_backup, "--data", at_data], &[]).await.1.unwrap();
    let (_, again) = grange(&["admin", "backup", at_backup, "--data", at_data], &[]).await;
    assert!(told(again).contains("a folder of its own"));
    let (_, over) = grange(&["admin", "restore", at_backup, "--data", at_data], &[]).await;
    assert!(told(over).contains("has a farm already"));
    farm.stop().await.unwrap();

    grange(&["admin", "restore", at_backup, "--data", at_elsewhere], &[]).await.1.unwrap();
    assert_eq!(std::fs::read(stored(&elsewhere, &digest)).unwrap(), b"a source");
    assert!(!elsewhere.join("logs/01M7YZT9Z2C9GJ8213CNBEP30D").exists());
    let mut options = Options::anywhere(&elsewhere);
    options.config.builder.slots = 0;
    let restored = start(options).await.unwrap();
    let (printed, result) =
        grange(&["whoami"], &[("GRANGE_URL", &*restored.url), ("GRANGE_TOKEN", &ada)]).await;
    result.unwrap();
    assert_eq!(printed.trim(), "ada");
    restored.stop().await.unwrap();

    std::fs::remove_file(stored(&backup.join("data"), &digest)).unwrap();
    let (_, lacking) = grange(
        &["admin", "restore", at_backup, "--data", folder.path().join("third").to_str().unwrap()],
        &[],
    )
    .await;
    assert!(told(lacking).contains("1 of 1 files that the ledger names are missing"));
}
