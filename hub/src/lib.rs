//! Grange's web API and pages: intake of pushes, artifacts, repos, gate and promotion.
