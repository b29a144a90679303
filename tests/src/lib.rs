//! Grange's stories, simulation and real-service tests.
