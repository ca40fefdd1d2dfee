// Runs an ONNX graph of deploy.export on clips with ONNX Runtime in Node:
//
//   node infer.mjs --model_file=inference.onnx --clips=clips.npy --output=logits.npy
//
// clips: float32 [N, T, 3, H, W], normalized, or [N, 3, H, W] of pictures; logits: float32 [N, K] or [N, K, H, W]. They
// go in one by one.

import { readFile, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import ort from 'onnxruntime-node';

const HEADER = /^\{'descr': '<f4', 'fortran_order': False, 'shape': \(((?:\d+, ?)*\d*)\), \} *\n$/;
const MAGIC = '\x93NUMPY\x01\x00'; // version 1.0

/** A .npy file of float32 in C order; throws for any other. */
async function readNpy(path) {
  const bytes = await readFile(path);
  const start = 10 + (bytes.length < 10 ? 0 : bytes.readUInt16LE(8));
  const found = HEADER.exec(bytes.toString('latin1', 10, start));
  if (bytes.toString('latin1', 0, 8) !== MAGIC || !found) {
    throw new Error(`${path} is no .npy file of version 1.0 with float32 in C order`);
  }
  const shape = found[1].split(',').filter((size) => size.trim()).map(Number);
  const values = new Float32Array(bytes.buffer.slice(bytes.byteOffset + start, bytes.byteOffset + bytes.length));
  if (values.length !== shape.reduce((product, size) => product * size, 1)) {
    throw new Error(`${path} is truncated, or longer than its header says`);
  }
  return { shape, values };
}

async function writeNpy(path, shape, values) {
  const text = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.join(', ')}), }`;
  const header = `${text}${' '.repeat(63 - ((10 + text.length) % 64))}\n`;
  const start = Buffer.alloc(10);
  start.write(MAGIC, 'latin1');
  start.writeUInt16LE(header.length, 8);
  await writeFile(path, Buffer.concat([start, Buffer.from(header, 'latin1'), Buffer.from(values.buffer)]));
}

/** Logits [N, ...] of clips [N, T, 3, H, W] or pictures [N, 3, H, W]. */
async function run(session, clips) {
  const [count, ...clip] = clips.shape;
  const size = clips.values.length / count;
  const rows = [];
  let row = [];
  for (let i = 0; i < count; i += 1) {
    const tensor = new ort.Tensor('float32', clips.values.subarray(i * size, (i + 1) * size), [1, ...clip]);
    const results = await session.run({ [session.inputNames[0]]: tensor });
    const logits = results[session.outputNames[0]];
    rows.push(Float32Array.from(logits.data));
    row = logits.dims.slice(1);
  }
  const values = new Float32Array(rows.length * rows[0].length);
  rows.forEach((one, i) => values.set(one, i * one.length));
  return { shape: [rows.length, ...row], values };
}

try {
  const option = { type: 'string' };
  const { values: flags } = parseArgs({ options: { model_file: option, clips: option, output: option } });
  for (const name of ['model_file', 'clips', 'output']) {
    if (!flags[name]) throw new Error(`--${name}=... is missing`);
  }
  const clips = await readNpy(flags.clips);
  if (![4, 5].includes(clips.shape.length)) throw new Error('the clips must be of shape [N, T, 3, H, W] or [N, 3, H, W]');
  const session = await ort.InferenceSession.create(flags.model_file, { logSeverityLevel: 3 });
  const logits = await run(session, clips);
  await writeNpy(flags.output, logits.shape, logits.values);
  console.log(`logits of ${logits.shape[0]} clips in ${flags.output}`);
} catch (error) {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
}
