//! Protobuf messages of `crates/api` by protox and prost-build: pure Rust, no protoc. Beside the code stands the set of
//! descriptors, by which the JSON gateway finds the fields of a message.

use super::{Output, rustfmt};
use crate::workspace::{Workspace, files_with_extension};
use anyhow::{Context, Result};
use prost::Message as _;
use prost_build::{Config, Module};
use std::collections::BTreeMap;

/// One output for each protobuf package, named after it, and the descriptors of all.
pub fn generate(workspace: &Workspace) -> Result<Vec<Output>> {
    let folder = workspace.proto_schemas();
    let protos = files_with_extension(&folder, "proto")?;
    let descriptors = protox::compile(&protos, [&folder]).context("compile crates/api/proto")?;
    let mut plain = descriptors.clone();
    // Comments and positions say nothing to a program.
    plain.file.iter_mut().for_each(|file| file.source_code_info = None);
    let path = workspace.proto_generated().join("descriptors.bin");
    let mut outputs = vec![Output { path, bytes: plain.encode_to_vec() }];
    let requests = descriptors
        .file
        .into_iter()
        .map(|file| (Module::from_protobuf_package_name(file.package()), file))
        .collect();

    let mut config = Config::new();
    // `Bytes` instead of `Vec<u8>`: a decoded request keeps views of the buffer that it arrived in.
    config.bytes(["."]);
    let modules: BTreeMap<Module, String> = config.generate(requests)?.into_iter().collect();
    for (module, code) in modules.into_iter().filter(|(_, code)| !code.trim().is_empty()) {
        let path = workspace.proto_generated().join(module.to_file_name_or("unnamed"));
        outputs.push(Output { path, bytes: rustfmt(workspace, &code)?.into_bytes() });
    }
    Ok(outputs)
}
