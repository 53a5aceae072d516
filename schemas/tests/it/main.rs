//! What is on the topics stays readable: against the real registry, whether it is there or not.

mod erasure;
mod evolution;
mod frame;
mod golden;
mod json;
mod registry;
mod sample;
mod wire;
