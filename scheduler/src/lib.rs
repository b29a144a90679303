//! Grange's scheduler: backlog to offers, leases and the roster of builders.
