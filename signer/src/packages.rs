//! Signing packages: fetched, held against the body digest that was tested, signed, sent back.

use farm::digest::Digest;
use farm::openpgp::{PublicKey, SecretKey, SignedPackage, body_of, read_signed, sign_package};
use farm::snapshot::Rpm;
use farm::stamp::Stamp;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};

use crate::attested::Attested;
use crate::client::Hub;
use crate::facts::Facts;
use crate::trouble::Trouble;

/// Runs work that takes long on another thread.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Trouble::refused(format!("the signer failed: {error}"))),
    }
}

/// Signs those of a snapshot's packages that were asked for, with this key, several at once. What is no package of the
/// snapshot is refused.
pub(crate) async fn sign(
    hub: &Hub,
    attested: &Attested,
    facts: &Facts,
    asked: &[Rpm],
    key: &SecretKey,
    parallel: usize,
    now: Stamp,
) -> Result<usize, Trouble> {
    let mut rpms = Vec::new();
    for asked in asked {
        let known = facts.snapshot.rpms().find(|rpm| rpm.body == asked.body);
        let rpm = known.ok_or_else(|| {
            Trouble::refused(format!("the hub asks for {}, which is not in the snapshot", asked.file))
        })?;
        rpms.push(rpm);
    }
    let promotion = facts.promotion.id;
    let sign = |rpm: &'_ Rpm| {
        let rpm = rpm.clone();
        async move {
            let (folder, signed) = sign_one(hub, &rpm, key, now).await?;
            tracing::trace!(target: "steps", "the signer has signed a package");
            hub.package(promotion, &signed, &folder.path().join(SIGNED)).await?;
            tracing::trace!(target: "steps", "the signer has sent a package");
            attested.add(&signed)?;
            tracing::debug!(%promotion, file = rpm.file, "signed");
            Ok::<_, Trouble>(())
        }
        .boxed()
    };
    let signings: Vec<_> = rpms.iter().map(|rpm| sign(rpm)).collect();
    stream::iter(signings).buffer_unordered(parallel.max(1)).try_collect::<Vec<()>>().await?;
    Ok(rpms.len())
}

/// What the signed file is called in its folder.
const SIGNED: &str = "signed.rpm";

async fn sign_one(
    hub: &Hub,
    rpm: &Rpm,
    key: &SecretKey,
    now: Stamp,
) -> Result<(tempfile::TempDir, SignedPackage), Trouble> {
    let folder = tempfile::tempdir()?;
    let (from, to) = (folder.path().join("package.rpm"), folder.path().join(SIGNED));
    hub.artifact(&rpm.digest, &from).await?;
    tracing::trace!(target: "steps", "the signer has fetched a package");
    let (key, body, file) = (key.clone(), rpm.body.clone(), rpm.file.clone());
    let signed = blocking(move || {
        let actual = body_of(&from)?;
        if actual != body {
            return Err(other_bytes(&file, &actual, &body));
        }
        let signed = sign_package(&from, &to, &key, now)?;
        if signed.body != body {
            return Err(other_bytes(&file, &signed.body, &body));
        }
        Ok(signed)
    })
    .await?;
    Ok((folder, signed))
}

fn other_bytes(file: &str, actual: &Digest, expected: &Digest) -> Trouble {
    Trouble::refused(format!(
        "{file} has the body {}, but {} is what was built and tested: somebody has changed the file",
        actual.short(),
        expected.short()
    ))
}

/// Makes sure that a file is the signed form of a body: it is known to be, or it is fetched and checked.
pub(crate) async fn attest(
    hub: &Hub,
    attested: &Attested,
    file: &str,
    signed: &SignedPackage,
    keys: &[PublicKey],
) -> Result<(), Trouble> {
    if attested.knows(signed) {
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let path = folder.path().join(SIGNED);
    hub.artifact(&signed.digest, &path).await?;
    let keys = keys.to_vec();
    let actual = blocking(move || Ok(read_signed(&path, &keys)?)).await?;
    if actual != *signed {
        return Err(other_bytes(file, &actual.body, &signed.body));
    }
    Ok(attested.add(signed)?)
}
