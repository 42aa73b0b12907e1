//! Topologies of network namespaces as values, and the processes that run in them.
