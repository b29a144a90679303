//! The programs a git server runs: update (may this push?) and post-receive (tell the hub).
