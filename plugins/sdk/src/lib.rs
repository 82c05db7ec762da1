//! The contract between the gateway and its plugins. It depends on nothing of the gateway.
