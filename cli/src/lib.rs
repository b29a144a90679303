//! The grange command: user commands, and all roles in one process.
