//! What somebody may have meant who named a package where a build was expected.

use farm::api::RequestView;
use farm::ids::RequestId;
use farm::nvr::is_package_name;
use farm::stamp::Stamp;

use crate::client::{Body, Client};
use crate::failure::Failure;
use crate::render::ago;

/// The answer as it is; but where there is no such build, and a package of that name, the refusal names its newest one.
pub(super) async fn or_hint(
    answer: Result<Body, Failure>,
    id: &str,
    client: &Client,
    now: Stamp,
) -> Result<Body, Failure> {
    match answer {
        Err(Failure::Refused(mut problem))
            if problem.status == 404 && is_package_name(id) && id.parse::<RequestId>().is_err() =>
        {
            problem.fix = newest(id, client, now).await.or(problem.fix);
            Err(Failure::Refused(problem))
        }
        answer => answer,
    }
}

/// The newest build of a package, as a question. Where the hub does not say, there is none.
async fn newest(package: &str, client: &Client, now: Stamp) -> Option<String> {
    let query = [("package", package.to_owned()), ("limit", "1".to_owned())];
    let page = client.get(&["builds"], &query).await.ok()?.items::<RequestView>().ok()?;
    let RequestView { request, status, .. } = page.items.first()?;
    let since = request.closed.as_ref().map_or(request.created, |closed| closed.at);
    Some(format!("did you mean {} ({package}, {} {})?", request.id, status.as_str(), ago(since, now)))
}
