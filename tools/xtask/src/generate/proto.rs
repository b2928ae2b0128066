//! Protobuf messages of `crates/api` by protox and prost-build: pure Rust, no protoc.

use super::{Output, rustfmt};
use crate::workspace::{Workspace, files_with_extension};
use anyhow::{Context, Result};
use prost_build::{Config, Module};
use std::collections::BTreeMap;

/// One output for each protobuf package, named after it.
pub fn generate(workspace: &Workspace) -> Result<Vec<Output>> {
    let folder = workspace.proto_schemas();
    let protos = files_with_extension(&folder, "proto")?;
    let descriptors = protox::compile(&protos, [&folder]).context("compile crates/api/proto")?;
    let requests = descriptors
        .file
        .into_iter()
        .map(|file| (Module::from_protobuf_package_name(file.package()), file))
        .collect();

    let mut config = Config::new();
    // `Bytes` instead of `Vec<u8>`: a decoded request keeps views of the buffer that it arrived in.
    config.bytes(["."]);
    let modules: BTreeMap<Module, String> = config.generate(requests)?.into_iter().collect();
    let mut outputs = Vec::new();
    for (module, code) in modules.into_iter().filter(|(_, code)| !code.trim().is_empty()) {
        let path = workspace.proto_generated().join(module.to_file_name_or("unnamed"));
        outputs.push(Output { path, text: rustfmt(workspace, &code)? });
    }
    Ok(outputs)
}
