//! Generates the messages and the service from the proto that build.sh put beside this file. They go
//! into `src/pb/` of the copy that build.sh made: they begin with inner attributes, which only a
//! module's own file may have.

fn main() {
    let out = "src/pb";
    println!("cargo:rerun-if-changed=test.proto");
    std::fs::create_dir_all(out).expect("the copy can be written");
    ttrpc_codegen::Codegen::new()
        .out_dir(out)
        .input("test.proto")
        .include(".")
        .rust_protobuf()
        .customize(ttrpc_codegen::Customize {
            async_all: true,
            gen_mod: true,
            ..Default::default()
        })
        .run()
        .expect("test.proto compiles");
}
