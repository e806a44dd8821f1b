// The child process of a platform whose runtime is a Node package: `node worker.mjs FOLDER PROVIDER`.
//
// The twin of harness/platforms/worker.py: the messages of wire.py, the same errors. Requests come on stdin, replies
// leave on descriptor 3: runtimes print to stdout when they please, so the host points stdout at stderr.

import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, readSync, readdirSync, rmSync, writeSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";

const SESSIONS_KEPT = 64;
const MAX_MESSAGE_BYTES = 2 ** 31;
const STDIN = 0;
const REPLIES = 3;

// numpy's names, which are this runtime's too. What is missing here (strings, 4-bit integers) is unsupported.
// float16 is passed as its bits; BigInt arrays keep all 64 bits.
const ARRAYS = {
  bool: Uint8Array,
  int8: Int8Array,
  uint8: Uint8Array,
  int16: Int16Array,
  uint16: Uint16Array,
  int32: Int32Array,
  uint32: Uint32Array,
  int64: BigInt64Array,
  uint64: BigUint64Array,
  float16: Uint16Array,
  float32: Float32Array,
  float64: Float64Array,
};

// Where it exists, the packages pass float16 as one, which the native package reads as no bytes at all.
delete globalThis.Float16Array;

class EndOfInput extends Error {}
class FellBack extends Error {}
class Unsupported extends Error {}

function exactly(count) {
  // A buffer of its own: typed arrays need aligned memory, and small buffers share a pool.
  const data = Buffer.allocUnsafeSlow(count);
  let filled = 0;
  while (filled < count) {
    const got = readSync(STDIN, data, filled, count - filled, null);
    if (got === 0) throw new EndOfInput();
    filled += got;
  }
  return data;
}

function capped(count) {
  if (!Number.isSafeInteger(count) || count < 0 || count > MAX_MESSAGE_BYTES) {
    throw new Error("the request is not a message");
  }
  return exactly(count);
}

function receive() {
  const head = JSON.parse(capped(exactly(4).readUInt32LE()).toString("utf8"));
  const blob = capped(head.blob);
  const tensors = head.tensors.map((t) => ({ ...t, data: capped(t.bytes) }));
  return { artifact: head.artifact, blob, tensors };
}

function write(data) {
  let written = 0;
  while (written < data.length) written += writeSync(REPLIES, data, written);
}

function send(head, tensors = []) {
  const described = tensors.map(({ name, dtype, shape, data }) => ({ name, dtype, shape, bytes: data.length }));
  const text = Buffer.from(JSON.stringify({ ...head, blob: 0, tensors: described }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(text.length);
  write(length);
  write(text);
  for (const { data } of tensors) write(data);
}

// An odd number of nanoseconds: never a whole second, which JSON would write as an integer.
const secondsSince = (began) => Number((process.hrtime.bigint() - began) | 1n) / 1e9;

const firstLine = (error) => `${error.name ?? "Error"}: ${error.message ?? error}`.split("\n")[0];

const digest = (file) => createHash("sha256").update(readFileSync(file)).digest("hex");

// By execution provider: the package that has it, what it needs to be told, and which code multiplies in it.
const PROVIDERS = {
  cpu: {
    name: "onnxruntime-node",
    configure: () => ({
      // The kernels of the Python package: one witness, not two.
      integer_kernel: "MLAS",
      float_kernel: "MLAS NCHWc",
    }),
  },
  wasm: {
    name: "onnxruntime-web",
    configure: (ort, entry) => {
      ort.env.wasm.numThreads = 1;
      ort.env.wasm.proxy = false;
      // Relaxed SIMD leaves results to the processor.
      ort.env.wasm.simd = "fixed";
      return {
        wasm_simd: ort.env.wasm.simd,
        wasm_sha256: digest(join(dirname(entry), "ort-wasm-simd-threaded.wasm")),
        integer_kernel: "MLAS wasm SIMD",
        float_kernel: "MLAS wasm SIMD",
      };
    },
  },
  webgpu: {
    name: "onnxruntime-node",
    configure: () => {
      const driver = process.env.VK_DRIVER_FILES;
      const library = join(dirname(driver), JSON.parse(readFileSync(driver)).ICD.library_path);
      return {
        vulkan_driver: basename(library),
        vulkan_driver_sha256: digest(library),
        threads: "1, and SwiftShader's own",
        placement: "every node that computes on webgpu; moves of elements may be on the CPU",
        integer_kernel: "WebGPU float32 matmul as the carrier of integers",
        float_kernel: "WebGPU",
      };
    },
    // It leaves to the CPU, silently, what it has no kernel for.
    partial: "WebGpuExecutionProvider",
  },
};

// Operators that copy elements and compute nothing from them: they give the same bits anywhere.
const MOVES = new Set(
  "Concat Expand Flatten Gather GatherElements Identity Reshape Shape Slice Split Squeeze Transpose Unsqueeze".split(" "),
);

function open(folder, provider) {
  const { name, configure, partial } = PROVIDERS[provider];
  const require = createRequire(join(folder, "package.json"));
  const ort = require(name);
  const options = {
    executionProviders: [provider],
    graphOptimizationLevel: "all",
    executionMode: "sequential",
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    logSeverityLevel: 3,
  };
  const environment = {
    runtime: `${name} ${ort.env.versions[name.split("-")[1]]}`,
    provider,
    graph_optimization: options.graphOptimizationLevel,
    threads: String(options.intraOpNumThreads),
    node: process.versions.node,
    v8: process.versions.v8,
    ...configure(ort, require.resolve(name)),
  };
  return { ort, options, partial, environment };
}

async function load({ ort, options }, model) {
  try {
    return await ort.InferenceSession.create(model, options);
  } catch (error) {
    // A valid graph with an operator or type that the provider has no kernel for.
    if (error.message.includes("Could not find an implementation")) {
      throw new Unsupported(error.message.split("\n")[0]);
    }
    throw error;
  }
}

// Throws FellBack where a node that computes is not on the provider. Placement is settled when a graph is loaded, and
// told by a profile alone, which is written when its session ends: so a session of its own.
async function prove({ ort, options, partial }, model, feeds) {
  const folder = mkdtempSync(join(tmpdir(), "crosscheck-"));
  try {
    const profiled = { ...options, enableProfiling: true, profileFilePrefix: join(folder, "profile") };
    const session = await ort.InferenceSession.create(model, profiled);
    try {
      await session.run(feeds);
    } finally {
      await session.release();
    }
    const [file] = readdirSync(folder);
    const nodes = JSON.parse(readFileSync(join(folder, file))).filter((event) => event.args?.op_name);
    if (nodes.length === 0) throw new Error("the profile has no nodes in it");
    const strays = nodes.filter(({ args }) => args.provider !== partial && !MOVES.has(args.op_name));
    const operators = [...new Set(strays.map(({ args }) => args.op_name))].sort();
    if (operators.length > 0) {
      throw new FellBack(`asked for ${partial}, which left to the CPU: ${operators.join(", ")}`);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function toRuntime(ort, { name, dtype, shape, data }) {
  const Elements = ARRAYS[dtype];
  if (Elements === undefined) throw new Unsupported(`input '${name}' is ${dtype}`);
  const values = new Elements(data.buffer, 0, data.length / Elements.BYTES_PER_ELEMENT);
  return new ort.Tensor(dtype, values, shape);
}

function fromRuntime(name, tensor) {
  if (!(tensor.type in ARRAYS)) throw new Unsupported(`output '${name}' is ${tensor.type}`);
  const { buffer, byteOffset, byteLength } = tensor.data;
  return { name, dtype: tensor.type, shape: [...tensor.dims], data: Buffer.from(buffer, byteOffset, byteLength) };
}

async function execute(engine, sessions, { artifact, blob, tensors }) {
  const known = sessions.get(artifact);
  const feeds = Object.fromEntries(tensors.map((t) => [t.name, toRuntime(engine.ort, t)]));
  if (blob.length > 0 && engine.partial !== undefined) await prove(engine, blob, feeds);
  const session = blob.length > 0 ? await load(engine, blob) : known;
  // A Map keeps the order of insertion: the first is the one used longest ago.
  sessions.delete(artifact);
  sessions.set(artifact, session);
  if (known !== undefined && known !== session) await known.release();
  if (sessions.size > SESSIONS_KEPT) {
    const [oldest, forgotten] = sessions.entries().next().value;
    sessions.delete(oldest);
    await forgotten.release();
  }
  // One of the packages ignores a feed that the graph has no input for.
  const stray = tensors.find((t) => !session.inputNames.includes(t.name));
  if (stray !== undefined) throw new Error(`the graph has no input '${stray.name}'`);
  const results = await session.run(feeds);
  return session.outputNames.map((name) => fromRuntime(name, results[name]));
}

async function serve(folder, provider) {
  const began = process.hrtime.bigint();
  let engine;
  try {
    engine = open(folder, provider);
  } catch (error) {
    const remedy = `delete ${folder} and prepare it again: make platforms-extra; a system that the package has no build for stays without`;
    send({ error: "unavailable", message: firstLine(error), remedy });
    return;
  }
  send({ environment: engine.environment, seconds: secondsSince(began) });
  const sessions = new Map();
  for (;;) {
    const request = receive();
    if (request.blob.length === 0 && !sessions.has(request.artifact)) {
      send({ error: "send artifact" });
      continue;
    }
    const started = process.hrtime.bigint();
    try {
      const outputs = await execute(engine, sessions, request);
      send({ seconds: secondsSince(started) }, outputs);
    } catch (error) {
      // After a trap the module's memory is in no known state: the process ends, the next request gets a new one.
      if (error instanceof WebAssembly.RuntimeError) throw error;
      if (error instanceof FellBack) send({ error: "fell back", message: error.message });
      else if (error instanceof Unsupported) send({ error: "unsupported", message: error.message });
      else send({ error: "crashed", message: firstLine(error) });
    }
  }
}

try {
  await serve(...process.argv.slice(2));
} catch (error) {
  if (!(error instanceof EndOfInput)) {
    process.stderr.write(`${firstLine(error)}\n`);
    process.exit(1);
  }
}
process.exit(0);
