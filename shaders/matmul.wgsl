// Batched matrix product, both operands staged through workgroup memory.
//
//   sum[batch, row, column] = sum over inner of a[batch, row, inner] * b[batch, inner, column]
//
// Grid: one workgroup of 64 invocations for each tile of the result, row_threads by column_threads; each
// invocation keeps row_each rows by 4 columns of sums in registers. Tiles beyond the edge read 0 and store
// nothing, so every size is exact.
// Holes: the constants, the bindings and the bodies of load_a, load_b and store are replaced by generation
// (src/backend/webgpu/matmul.ts). What stands here multiplies plain row-major matrices.
// Limits relied on: 64 invocations per workgroup; depth * (tile_rows + tile_columns) * 4 bytes of workgroup
// memory, which the generator keeps to 16 KiB.

const batches: i32 = 1;
const rows: i32 = 64;
const columns: i32 = 64;
const inner_length: i32 = 64;
const row_threads: i32 = 8;
const column_threads: i32 = 8;
const row_each: i32 = 4;
// How much of the inner axis is staged at once.
const depth: i32 = 16;
// Which index consecutive invocations follow while they stage an operand: the one along which it is contiguous.
const a_along_inner: bool = true;
const b_along_inner: bool = false;
// Workgroups in the first dimension of the dispatch; further ones continue in the second.
const dispatch_width: i32 = 65535;

const tile_rows: i32 = row_threads * row_each;
const tile_columns: i32 = column_threads * 4;
const row_tiles: i32 = (rows + tile_rows - 1) / tile_rows;
const column_tiles: i32 = (columns + tile_columns - 1) / tile_columns;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;

var<workgroup> a_tile: array<f32, depth * tile_rows>;
var<workgroup> b_tile: array<vec4<f32>, depth * column_threads>;

fn load_a(batch: i32, row: i32, inner: i32) -> f32 {
  return a[(batch * rows + row) * inner_length + inner];
}

fn load_b(batch: i32, inner: i32, column: i32) -> f32 {
  return b[(batch * inner_length + inner) * columns + column];
}

fn store(batch: i32, row: i32, column: i32, sum: f32) {
  c[(batch * rows + row) * columns + column] = sum;
}

fn a_at(batch: i32, row: i32, inner: i32) -> f32 {
  if (row < rows && inner < inner_length) {
    return load_a(batch, row, inner);
  }
  return 0.0;
}

fn b_at(batch: i32, inner: i32, column: i32) -> f32 {
  if (column < columns && inner < inner_length) {
    return load_b(batch, inner, column);
  }
  return 0.0;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let tile = i32(workgroup.x) + i32(workgroup.y) * dispatch_width;
  if (tile >= batches * row_tiles * column_tiles) {
    return;
  }
  let batch = tile / (row_tiles * column_tiles);
  let row_start = tile / column_tiles % row_tiles * tile_rows;
  let column_start = tile % column_tiles * tile_columns;
  let lane = i32(local);
  let lane_row = lane / column_threads;
  let lane_column = lane % column_threads;

  var sums: array<vec4<f32>, row_each>;
  for (var start = 0; start < inner_length; start += depth) {
    for (var i = lane; i < depth * tile_rows; i += 64) {
      let k = select(i / tile_rows, i % depth, a_along_inner);
      let row = select(i % tile_rows, i / depth, a_along_inner);
      a_tile[k * tile_rows + row] = a_at(batch, row_start + row, start + k);
    }
    for (var i = lane; i < depth * column_threads; i += 64) {
      let k = select(i / column_threads, i % depth, b_along_inner);
      let group = select(i % column_threads, i / depth, b_along_inner);
      let column = column_start + group * 4;
      b_tile[k * column_threads + group] = vec4<f32>(
        b_at(batch, start + k, column),
        b_at(batch, start + k, column + 1),
        b_at(batch, start + k, column + 2),
        b_at(batch, start + k, column + 3),
      );
    }
    workgroupBarrier();
    // A bound that compilers do not know keeps them from unrolling: that costs seconds to compile and gains nothing.
    let steps = min(depth, inner_length - start);
    for (var k = 0; k < steps; k++) {
      let b_vector = b_tile[k * column_threads + lane_column];
      for (var r = 0; r < row_each; r++) {
        sums[r] += a_tile[k * tile_rows + lane_row + r * row_threads] * b_vector;
      }
    }
    workgroupBarrier();
  }

  for (var r = 0; r < row_each; r++) {
    let row = row_start + lane_row + r * row_threads;
    for (var i = 0; i < 4; i++) {
      let column = column_start + lane_column * 4 + i;
      if (row < rows && column < columns) {
        store(batch, row, column, sums[r][i]);
      }
    }
  }
}
