//! The services beside KV and Watch: the same random and written requests to a real etcd and to Windlass, every answer and
//! refusal compared field by field.
//!
//! `WINDLASS_ETCD_DIR` names the folder of a real etcd 3.5; without it the tests say so and pass. `WINDLASS_SERVICES_STEPS`
//! and `WINDLASS_SERVICES_SEED` repeat a run or make a longer one.

mod administration;
mod ask;
mod leases;
#[path = "../process/mod.rs"]
mod process;
mod recipes;
mod users;
