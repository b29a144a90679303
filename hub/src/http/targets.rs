//! Targets, tags and their repos.

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use farm::api::{LayerView, TagView, TaggedBuild, TargetView};
use farm::ledger::{LayerState, Tx};
use farm::sig::{Community, Inherited, Layer, Project, Stage};

use super::extract::{Json, Path};
use crate::problem::{Answer, Problem};
use crate::repos::dotrepo::{public_path, repo_file};
use crate::state::Hub;

/// Every target, with what its builds may install from.
#[utoipa::path(get, path = "/api/v1/targets", tag = "sigs", responses((status = 200, body = Vec<TargetView>)))]
pub(super) async fn targets(State(hub): State<Hub>) -> Answer<Json<Vec<TargetView>>> {
    let community = hub.community().await?;
    Ok(Json(community.projects().map(|project| target_view(&community, project)).collect()))
}

/// What a target's builds install from, the most preferred first, and why each layer is there.
#[utoipa::path(get, path = "/api/v1/targets/{target}/layers", tag = "sigs",
    params(("target" = String, Path, description = "Its name")), responses((status = 200, body = Vec<LayerView>)))]
pub(super) async fn layers(State(hub): State<Hub>, Path(name): Path<String>) -> Answer<Json<Vec<LayerView>>> {
    let mut tx = hub.db.read().await?;
    let community = tx.community().await?;
    let project = community
        .target(&name)
        .ok_or_else(|| Problem::not_found("target", name.chars().take(200).collect::<String>()))?;
    let inherited = community.inheritance(project);
    let states = tx.layer_states(inherited.iter().map(|inherited| inherited.layer.clone()).collect()).await?;
    let mut views = Vec::new();
    for (state, Inherited { by, .. }) in states.into_iter().zip(inherited) {
        views.push(layer_view(&mut tx, &community, state, by).await?);
    }
    Ok(Json(views))
}

/// Every tag.
#[utoipa::path(get, path = "/api/v1/tags", tag = "sigs", responses((status = 200, body = Vec<TagView>)))]
pub(super) async fn tags(State(hub): State<Hub>) -> Answer<Json<Vec<TagView>>> {
    let mut tx = hub.db.read().await?;
    let community = tx.community().await?;
    let mut views = Vec::new();
    for project in community.projects() {
        for stage in Stage::ALL {
            views.push(tag_view(&hub, &mut tx, project, stage).await?);
        }
    }
    Ok(Json(views))
}

/// One tag, with the builds in its repo.
#[utoipa::path(get, path = "/api/v1/tags/{tag}", tag = "sigs", params(("tag" = String, Path, description = "Its name")),
    responses((status = 200, body = TagView)))]
pub(super) async fn tag(State(hub): State<Hub>, Path(name): Path<String>) -> Answer<Json<TagView>> {
    let mut tx = hub.db.read().await?;
    let community = tx.community().await?;
    let (project, stage) = find(&community, &name)?;
    Ok(Json(tag_view(&hub, &mut tx, project, stage).await?))
}

/// The `.repo` file of a public repo, for `/etc/yum.repos.d`.
#[utoipa::path(get, path = "/api/v1/repos/{file}", tag = "sigs",
    params(("file" = String, Path, description = "`<tag>.repo`")),
    responses((status = 200, body = String, content_type = "text/plain")))]
pub(super) async fn dot_repo(State(hub): State<Hub>, Path(file): Path<String>) -> Answer<impl IntoResponse> {
    let community = hub.community().await?;
    let (project, stage) = find(&community, file.strip_suffix(".repo").unwrap_or(&file))?;
    let text = repo_file(project, stage, &hub.config.public_url, None).ok_or_else(|| Problem::NotFound {
        what: format!("candidate repos such as {file} are not public"),
    })?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text))
}

pub(super) fn public_base(hub: &Hub) -> String {
    format!("{}/repos", hub.config.public_url)
}

fn find<'a>(community: &'a Community, name: &str) -> Answer<(&'a Project, Stage)> {
    community.tag(name).ok_or_else(|| Problem::not_found("tag", name.chars().take(200).collect::<String>()))
}

fn target_view(community: &Community, project: &Project) -> TargetView {
    TargetView {
        target: project.target(),
        sig: project.sig.clone(),
        build_tag: project.build_tag(),
        dest_tag: project.tag(Stage::Candidate),
        arches: project.arches.clone(),
        branches: project.branches.iter().cloned().collect(),
        layers: community.layers(project),
    }
}

async fn layer_view(tx: &mut Tx, community: &Community, state: LayerState, by: String) -> Answer<LayerView> {
    let owner = match &state.layer {
        Layer::Tag { tag } => community.tag(tag),
        Layer::External(_) => None,
    };
    let live = match state.repo.as_ref().and_then(|repo| repo.current) {
        Some(id) => tx.snapshot(id).await?,
        None => None,
    };
    Ok(LayerView {
        priority: state.source.as_ref().map(|source| source.priority),
        composing: state.is_behind(),
        inherited_by: by,
        sig: owner.map(|(project, _)| project.sig.clone()),
        stage: owner.map(|(_, stage)| stage),
        snapshot: state.repo.as_ref().and_then(|repo| repo.current),
        revision: state.repo.as_ref().map(|repo| repo.revision),
        since: live.as_ref().map(|snapshot| snapshot.created),
        builds: live.map(|snapshot| snapshot.members.len()),
        layer: state.layer,
    })
}

async fn tag_view(hub: &Hub, tx: &mut Tx, project: &Project, stage: Stage) -> Answer<TagView> {
    let tag = project.tag(stage);
    let repo = tx.repo(&tag).await?;
    let live = tx.live(&tag).await?;
    let baseurl = match public_path(project, stage, "$basearch") {
        Some(path) => format!("{}/{path}/", public_base(hub)),
        None => format!("{}/candidate/live/{tag}/$basearch/", hub.config.public_url),
    };
    Ok(TagView {
        repo_file: format!("{}/api/v1/repos/{tag}.repo", hub.config.public_url),
        sig: project.sig.clone(),
        stage,
        snapshot: repo.current,
        revision: repo.revision,
        builds: live
            .iter()
            .flat_map(|live| &live.members)
            .map(|member| TaggedBuild {
                build: member.build,
                nvr: member.nvr.clone(),
                rpms: member.rpms.len(),
            })
            .collect(),
        baseurl,
        tag,
    })
}
