// Generated from shaders/*.wgsl by `node shaders/embed.mjs`. Edit those files, not this one.
export const shaders = {
  "matmul-direct": `// Batched matrix product, one invocation for each element: for products so small that compiling code for tiles takes
// longer than they are worth. Stands after matmul-operands.wgsl.
//
// Grid: one workgroup of 64 invocations for each tile of 8 rows by 8 columns. Sums are added up in blocks, so that
// no long sum swallows small terms.
// Limits relied on: 64 invocations per workgroup.

const block: i32 = 32;
const row_tiles: i32 = (rows + 7) / 8;
const column_tiles: i32 = (columns + 7) / 8;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let tile = i32(workgroup.x) + i32(workgroup.y) * dispatch_width;
  let batch = tile / (row_tiles * column_tiles);
  let row = tile / column_tiles % row_tiles * 8 + i32(local) / 8;
  let column = tile % column_tiles * 8 + i32(local) % 8;
  if (batch >= batches || row >= rows || column >= columns) {
    return;
  }
  var sum = 0.0;
  for (var start = 0; start < inner_length; start += block) {
    var partial = 0.0;
    // A bound that compilers do not know (no tile is below 0) keeps them from writing out all of the sum, which takes seconds.
    let end = min(start + block, inner_length) + (tile >> 31u);
    for (var inner = start; inner < end; inner++) {
      partial += load_a(batch, row, inner) * load_b(batch, inner, column);
    }
    sum += partial;
  }
  store_element(batch, row, column, sum);
}
`,
  "matmul-matrix": `// Batched matrix product by subgroup matrices, which are tensor cores where a GPU has them. Stands after
// matmul-operands.wgsl.
//
// Grid: one workgroup for each tile of the result. Its subgroups form row_groups by column_groups, and each keeps
// row_matrices by column_matrices matrices of sums in its registers. Operands are staged in workgroup memory in their
// own precision and as they lie in theirs; sums are float32, and go through workgroup memory to where they are stored.
// Holes: the constants and the type of what is staged are replaced by generation.
// Limits relied on: subgroups of \`lanes\` invocations; a configuration of the adapter with these shapes and types;
// workgroup memory for both tiles and the sums (matmul-matrix.ts keeps it).

enable chromium_experimental_subgroup_matrix, subgroups, f16;

alias staged = f16;

// Invocations of a subgroup.
const lanes: i32 = 32;
// A matrix of sums, and how much of the inner axis one multiplication takes.
const matrix_rows: i32 = 16;
const matrix_columns: i32 = 16;
const matrix_inner: i32 = 16;
const row_groups: i32 = 2;
const column_groups: i32 = 2;
const row_matrices: i32 = 4;
const column_matrices: i32 = 4;
// How much of the inner axis is staged at once.
const stage: i32 = 16;

const groups: i32 = row_groups * column_groups;
const threads: i32 = lanes * groups;
const tile_rows: i32 = row_groups * row_matrices * matrix_rows;
const tile_columns: i32 = column_groups * column_matrices * matrix_columns;
const row_tiles: i32 = (rows + tile_rows - 1) / tile_rows;
const column_tiles: i32 = (columns + tile_columns - 1) / tile_columns;
const matrix_size: i32 = matrix_rows * matrix_columns;
// Lines of a staged tile lie a little further apart than they are long: neighbours fall into different banks.
const padding: i32 = 8;
const a_length: i32 = select(tile_rows, stage, a_along_inner);
const b_length: i32 = select(tile_columns, stage, b_along_inner);
const a_stride: i32 = a_length + padding;
const b_stride: i32 = b_length + padding;

alias Left = subgroup_matrix_left<staged, matrix_inner, matrix_rows>;
alias Right = subgroup_matrix_right<staged, matrix_columns, matrix_inner>;
alias Sums = subgroup_matrix_result<f32, matrix_columns, matrix_rows>;

var<workgroup> a_tile: array<staged, select(stage, tile_rows, a_along_inner) * a_stride>;
var<workgroup> b_tile: array<staged, select(stage, tile_columns, b_along_inner) * b_stride>;
// A matrix of each subgroup on its way out.
var<workgroup> out_tile: array<f32, groups * matrix_size>;

@compute @workgroup_size(threads)
fn main(
  @builtin(workgroup_id) workgroup: vec3<u32>,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_id) subgroup: u32,
  @builtin(subgroup_invocation_id) place_in_subgroup: u32,
) {
  let tile = i32(workgroup.x) + i32(workgroup.y) * dispatch_width;
  if (tile >= batches * row_tiles * column_tiles) {
    return;
  }
  let batch = tile / (row_tiles * column_tiles);
  let row_start = tile / column_tiles % row_tiles * tile_rows;
  let column_start = tile % column_tiles * tile_columns;
  let lane = i32(local);
  let group = i32(subgroup);
  // Where the rows and columns of the subgroup begin in the tile.
  let group_row = group / column_groups * row_matrices * matrix_rows;
  let group_column = group % column_groups * column_matrices * matrix_columns;

  var sums: array<Sums, row_matrices * column_matrices>;
  for (var start = 0; start < inner_length; start += stage) {
    for (var i = lane; i < tile_rows * stage / 4; i += threads) {
      let line = i / (a_length / 4);
      let place = i % (a_length / 4) * 4;
      let quad = a_quad(
        batch,
        row_start + select(place, line, a_along_inner),
        start + select(line, place, a_along_inner),
      );
      for (var j = 0; j < 4; j++) {
        a_tile[line * a_stride + place + j] = staged(quad[j]);
      }
    }
    for (var i = lane; i < tile_columns * stage / 4; i += threads) {
      let line = i / (b_length / 4);
      let place = i % (b_length / 4) * 4;
      let quad = b_quad(
        batch,
        start + select(line, place, b_along_inner),
        column_start + select(place, line, b_along_inner),
      );
      for (var j = 0; j < 4; j++) {
        b_tile[line * b_stride + place + j] = staged(quad[j]);
      }
    }
    workgroupBarrier();
    for (var k = 0; k < stage; k += matrix_inner) {
      var left: array<Left, row_matrices>;
      for (var i = 0; i < row_matrices; i++) {
        let row = group_row + i * matrix_rows;
        if (a_along_inner) {
          left[i] = subgroupMatrixLoad<Left, row_major>(&a_tile, u32(row * a_stride + k), u32(a_stride));
        } else {
          left[i] = subgroupMatrixLoad<Left, col_major>(&a_tile, u32(k * a_stride + row), u32(a_stride));
        }
      }
      for (var j = 0; j < column_matrices; j++) {
        let column = group_column + j * matrix_columns;
        var right: Right;
        if (b_along_inner) {
          right = subgroupMatrixLoad<Right, col_major>(&b_tile, u32(column * b_stride + k), u32(b_stride));
        } else {
          right = subgroupMatrixLoad<Right, row_major>(&b_tile, u32(k * b_stride + column), u32(b_stride));
        }
        for (var i = 0; i < row_matrices; i++) {
          let at = i * column_matrices + j;
          sums[at] = subgroupMatrixMultiplyAccumulate(left[i], right, sums[at]);
        }
      }
    }
    workgroupBarrier();
  }

  for (var i = 0; i < row_matrices; i++) {
    for (var j = 0; j < column_matrices; j++) {
      subgroupMatrixStore<row_major>(
        &out_tile,
        u32(group * matrix_size),
        sums[i * column_matrices + j],
        u32(matrix_columns),
      );
      workgroupBarrier();
      for (var at = i32(place_in_subgroup) * 4; at < matrix_size; at += lanes * 4) {
        let row = row_start + group_row + i * matrix_rows + at / matrix_columns;
        let column = column_start + group_column + j * matrix_columns + at % matrix_columns;
        if (row < rows && column < columns) {
          let first = group * matrix_size + at;
          store(
            batch,
            row,
            column,
            vec4<f32>(out_tile[first], out_tile[first + 1], out_tile[first + 2], out_tile[first + 3]),
          );
        }
      }
      workgroupBarrier();
    }
  }
}
`,
  "matmul-operands": `// What the families of matrix products share: where operands come from, edges, and where results go.
//
//   sum[batch, row, column] = sum over inner of a[batch, row, inner] * b[batch, inner, column]
//
// Rows and columns beyond the edge repeat the last one and are not stored; inner indices beyond the end are 0.
// Holes: the constants, the bindings and the bodies of load_a, load_b, a_quad, b_quad, store_element and store are
// replaced by generation (src/backend/webgpu/matmul.ts), and what a kernel does not call is left out. What stands here
// reads and writes plain row-major matrices.

const batches: i32 = 1;
const rows: i32 = 64;
const columns: i32 = 64;
const inner_length: i32 = 64;
// Which way four elements lie beside each other: along the inner axis, or not.
const a_along_inner: bool = true;
const b_along_inner: bool = false;
// Workgroups in the first dimension of the dispatch; further ones continue in the second.
const dispatch_width: i32 = 65535;

@group(0) @binding(0) var<storage, read> a: array<f32>;
@group(0) @binding(1) var<storage, read> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> c: array<f32>;

fn load_a(batch: i32, row: i32, inner: i32) -> f32 {
  return a[(batch * rows + row) * inner_length + inner];
}

fn load_b(batch: i32, inner: i32, column: i32) -> f32 {
  return b[(batch * inner_length + inner) * columns + column];
}

// An element of a, or 0 beyond the end of the inner axis; beyond the last row that one again.
fn a_at(batch: i32, row: i32, inner: i32) -> f32 {
  return select(0.0, load_a(batch, min(row, rows - 1), min(inner, inner_length - 1)), inner < inner_length);
}

fn b_at(batch: i32, inner: i32, column: i32) -> f32 {
  return select(0.0, load_b(batch, min(inner, inner_length - 1), min(column, columns - 1)), inner < inner_length);
}

// Four elements of a: along the inner axis, or from row to row.
fn a_quad(batch: i32, row: i32, inner: i32) -> vec4<f32> {
  if (a_along_inner) {
    return vec4<f32>(
      a_at(batch, row, inner),
      a_at(batch, row, inner + 1),
      a_at(batch, row, inner + 2),
      a_at(batch, row, inner + 3),
    );
  }
  return vec4<f32>(
    a_at(batch, row, inner),
    a_at(batch, row + 1, inner),
    a_at(batch, row + 2, inner),
    a_at(batch, row + 3, inner),
  );
}

// Four elements of b: along the inner axis, or from column to column.
fn b_quad(batch: i32, inner: i32, column: i32) -> vec4<f32> {
  if (b_along_inner) {
    return vec4<f32>(
      b_at(batch, inner, column),
      b_at(batch, inner + 1, column),
      b_at(batch, inner + 2, column),
      b_at(batch, inner + 3, column),
    );
  }
  return vec4<f32>(
    b_at(batch, inner, column),
    b_at(batch, inner, column + 1),
    b_at(batch, inner, column + 2),
    b_at(batch, inner, column + 3),
  );
}

// Four inner indices by four rows of a; a vector for each inner index.
fn a_block(batch: i32, row: i32, inner: i32) -> mat4x4<f32> {
  if (a_along_inner) {
    return transpose(mat4x4<f32>(
      a_quad(batch, row, inner),
      a_quad(batch, row + 1, inner),
      a_quad(batch, row + 2, inner),
      a_quad(batch, row + 3, inner),
    ));
  }
  return mat4x4<f32>(
    a_quad(batch, row, inner),
    a_quad(batch, row, inner + 1),
    a_quad(batch, row, inner + 2),
    a_quad(batch, row, inner + 3),
  );
}

// Four inner indices by four columns of b; a vector for each inner index.
fn b_block(batch: i32, inner: i32, column: i32) -> mat4x4<f32> {
  if (b_along_inner) {
    return transpose(mat4x4<f32>(
      b_quad(batch, inner, column),
      b_quad(batch, inner, column + 1),
      b_quad(batch, inner, column + 2),
      b_quad(batch, inner, column + 3),
    ));
  }
  return mat4x4<f32>(
    b_quad(batch, inner, column),
    b_quad(batch, inner + 1, column),
    b_quad(batch, inner + 2, column),
    b_quad(batch, inner + 3, column),
  );
}

fn store_element(batch: i32, row: i32, column: i32, sum: f32) {
  c[(batch * rows + row) * columns + column] = sum;
}

// Stores four columns of a row, as far as there are.
fn store(batch: i32, row: i32, column: i32, sum: vec4<f32>) {
  for (var i = 0; i < 4; i++) {
    if (column + i < columns) {
      store_element(batch, row, column + i, sum[i]);
    }
  }
}
`,
  "matmul-shared": `// Batched matrix product, both operands staged through workgroup memory. Stands after matmul-operands.wgsl.
//
// Grid: one workgroup for each tile of the result. Its invocations form row_threads by column_threads by slices;
// each keeps 4 * row_quads rows by 4 * column_quads columns of sums in registers. Slices share the inner axis among
// them and are added up at the end, in order: results with few elements and long sums, as of LoRA's factors, so
// occupy whole workgroups.
// Holes: the constants are replaced by generation.
// Limits relied on: the invocations, and the workgroup memory of staged quads (matmul-shared.ts keeps both).

const row_threads: i32 = 8;
const column_threads: i32 = 8;
const slices: i32 = 1;
const row_quads: i32 = 1;
const column_quads: i32 = 1;
// How much of the inner axis a slice stages at once: a multiple of four.
const depth: i32 = 16;

const threads: i32 = row_threads * column_threads * slices;
// Quads of rows and of columns in a tile.
const tile_row_quads: i32 = row_threads * row_quads;
const tile_column_quads: i32 = column_threads * column_quads;
const tile_rows: i32 = tile_row_quads * 4;
const tile_columns: i32 = tile_column_quads * 4;
const row_tiles: i32 = (rows + tile_rows - 1) / tile_rows;
const column_tiles: i32 = (columns + tile_columns - 1) / tile_columns;
// What all slices stage at once.
const stage: i32 = depth * slices;

// For each staged inner index the quads of rows, and of columns.
var<workgroup> a_tile: array<vec4<f32>, stage * tile_row_quads>;
var<workgroup> b_tile: array<vec4<f32>, stage * tile_column_quads>;
// One of the sums of each invocation, while slices are added up.
var<workgroup> partial: array<vec4<f32>, select(1, threads, slices > 1)>;

@compute @workgroup_size(threads)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let tile = i32(workgroup.x) + i32(workgroup.y) * dispatch_width;
  if (tile >= batches * row_tiles * column_tiles) {
    return;
  }
  let batch = tile / (row_tiles * column_tiles);
  let row_start = tile / column_tiles % row_tiles * tile_rows;
  let column_start = tile % column_tiles * tile_columns;
  let lane = i32(local);
  let lane_row = lane / column_threads % row_threads;
  let lane_column = lane % column_threads;
  let slice = lane / (row_threads * column_threads);

  var sums: array<vec4<f32>, row_quads * 4 * column_quads>;
  for (var start = 0; start < inner_length; start += stage) {
    // Neighbours follow the axis along which an operand is contiguous.
    for (var i = lane; i < stage / 4 * tile_row_quads; i += threads) {
      let k = select(i / tile_row_quads, i % (stage / 4), a_along_inner) * 4;
      let quad = select(i % tile_row_quads, i / (stage / 4), a_along_inner);
      let block = a_block(batch, row_start + quad * 4, start + k);
      for (var j = 0; j < 4; j++) {
        a_tile[(k + j) * tile_row_quads + quad] = block[j];
      }
    }
    for (var i = lane; i < stage / 4 * tile_column_quads; i += threads) {
      let k = select(i / tile_column_quads, i % (stage / 4), b_along_inner) * 4;
      let quad = select(i % tile_column_quads, i / (stage / 4), b_along_inner);
      let block = b_block(batch, start + k, column_start + quad * 4);
      for (var j = 0; j < 4; j++) {
        b_tile[(k + j) * tile_column_quads + quad] = block[j];
      }
    }
    workgroupBarrier();
    // A bound that compilers do not know keeps them from unrolling: that costs seconds to compile and gains nothing.
    let end = min((slice + 1) * depth, inner_length - start);
    for (var k = slice * depth; k < end; k++) {
      for (var q = 0; q < row_quads; q++) {
        let a4 = a_tile[k * tile_row_quads + lane_row + q * row_threads];
        for (var p = 0; p < column_quads; p++) {
          let b4 = b_tile[k * tile_column_quads + lane_column + p * column_threads];
          for (var i = 0; i < 4; i++) {
            sums[(q * 4 + i) * column_quads + p] += a4[i] * b4;
          }
        }
      }
    }
    workgroupBarrier();
  }

  if (slices > 1) {
    for (var r = 0; r < row_quads * 4 * column_quads; r++) {
      partial[lane] = sums[r];
      workgroupBarrier();
      if (slice == 0) {
        for (var other = 1; other < slices; other++) {
          sums[r] += partial[lane + other * row_threads * column_threads];
        }
      }
      workgroupBarrier();
    }
    if (slice > 0) {
      return;
    }
  }
  for (var q = 0; q < row_quads; q++) {
    let row = row_start + (lane_row + q * row_threads) * 4;
    // Again a bound that compilers do not know: what is stored is written out once, not for every row.
    let end = min(4, rows - row);
    for (var p = 0; p < column_quads; p++) {
      let column = column_start + (lane_column + p * column_threads) * 4;
      if (column < columns) {
        let first = q * 4 * column_quads + p;
        var four = array<vec4<f32>, 4>();
        for (var i = 0; i < 4; i++) {
          four[i] = sums[first + i * column_quads];
        }
        for (var i = 0; i < end; i++) {
          store(batch, row + i, column, four[i]);
        }
      }
    }
  }
}
`,
  "matmul-subgroup": `// Batched matrix product by subgroups of 8: for drivers that compute in vectors of 8 lanes, where loads are the cost.
// Stands after matmul-operands.wgsl.
//
// Grid: one workgroup, which is one subgroup of 8 invocations, for each tile of 8 * row_groups rows by 32 columns.
// For four inner indices at a time each lane loads row_groups quads of a, and its own 4 x 4 block of b; each quad of
// a goes to all lanes by broadcast, so that nothing is loaded twice in a tile, and no memory is shared.
// Holes: the constants and the bodies of multiply and row_of are replaced by generation.
// Limits relied on: the subgroup has 8 lanes. Lanes of a broadcast are constants, hence the written-out sums.

enable subgroups;

// Groups of eight rows in a tile.
const row_groups: i32 = 1;
// Long sums are added up in parts, so that they do not swallow small terms.
const span: i32 = 1024;
const tile_rows: i32 = 8 * row_groups;
const tile_columns: i32 = 32;
const row_tiles: i32 = (rows + tile_rows - 1) / tile_rows;
const column_tiles: i32 = (columns + tile_columns - 1) / tile_columns;

// Adds the product of four inner indices to the sums of all rows of the tile. With a_along_inner lane i of group g
// holds row 8 g + i; otherwise the quads of rows are dealt out one inner index after the other.
fn multiply(sums: ptr<function, array<vec4<f32>, tile_rows>>, a4: array<vec4<f32>, row_groups>, b4: mat4x4<f32>) {
  sums[0] += b4 * subgroupBroadcast(a4[0], 0u);
  sums[1] += b4 * subgroupBroadcast(a4[0], 1u);
  sums[2] += b4 * subgroupBroadcast(a4[0], 2u);
  sums[3] += b4 * subgroupBroadcast(a4[0], 3u);
  sums[4] += b4 * subgroupBroadcast(a4[0], 4u);
  sums[5] += b4 * subgroupBroadcast(a4[0], 5u);
  sums[6] += b4 * subgroupBroadcast(a4[0], 6u);
  sums[7] += b4 * subgroupBroadcast(a4[0], 7u);
}

// The sums of one row. An index that varies would put all of them in memory, where lavapipe reads and writes each number
// of each lane by itself: that took more to compile than all else.
fn row_of(sums: ptr<function, array<vec4<f32>, tile_rows>>, r: i32) -> vec4<f32> {
  return select(
    select(select(sums[0], sums[1], (r & 1) != 0), select(sums[2], sums[3], (r & 1) != 0), (r & 2) != 0),
    select(select(sums[4], sums[5], (r & 1) != 0), select(sums[6], sums[7], (r & 1) != 0), (r & 2) != 0),
    (r & 4) != 0,
  );
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(subgroup_invocation_id) lane_id: u32) {
  let tile = i32(workgroup.x) + i32(workgroup.y) * dispatch_width;
  if (tile >= batches * row_tiles * column_tiles) {
    return;
  }
  let batch = tile / (row_tiles * column_tiles);
  let row_start = tile / column_tiles % row_tiles * tile_rows;
  let lane = i32(lane_id);
  let column = tile % column_tiles * tile_columns + lane * 4;

  var sums: array<vec4<f32>, tile_rows>;
  var partial: array<vec4<f32>, tile_rows>;
  for (var start = 0; start < inner_length; start += span) {
    // Where there is an edge, a bound that compilers do not know (no tile is below 0): some write out a short sum, and then round otherwise
    // when anything around it is another.
    let end = min(start + span, inner_length) + select(0, tile >> 31u, inner_length % 4 != 0);
    for (var inner = start; inner < end; inner += 4) {
      var a4: array<vec4<f32>, row_groups>;
      for (var group = 0; group < row_groups; group++) {
        if (a_along_inner) {
          a4[group] = a_quad(batch, row_start + group * 8 + lane, inner);
        } else {
          let quad = group * 8 + lane;
          a4[group] = a_quad(batch, row_start + quad % (2 * row_groups) * 4, inner + quad / (2 * row_groups));
        }
      }
      multiply(&partial, a4, b_block(batch, inner, column));
    }
    for (var r = 0; r < tile_rows; r++) {
      sums[r] += partial[r];
      partial[r] = vec4<f32>();
    }
  }

  if (column < columns) {
    // A bound that compilers do not know keeps them from writing out what is stored for every row.
    let end = min(tile_rows, rows - row_start);
    for (var r = 0; r < end; r++) {
      store(batch, row_start + r, column, row_of(&sums, r));
    }
  }
}
`,
  scalar: `// Functions of one number that WGSL lacks, or whose builtin is inexact or undefined for some arguments. A kernel
// contains those it uses. Accuracies are those of test/backend/wgsl.test.ts. Functions that are not here are made of primitive
// operations (src/graph/functions.ts).
//
// WGSL lets a compiler assume that there are no NaNs and infinities, and reorder sums: questions about them are
// asked of the bits, and numbers are split by masking bits, never by adding and subtracting.

// A number from its bits: WGSL has no literal for NaN and the infinities.
fn lorantz_float(bits: u32) -> f32 {
  return bitcast<f32>(bits);
}

fn lorantz_isNaN(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn lorantz_isFinite(x: f32) -> bool {
  return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u;
}

// The larger one; NaN if either is; 0 of 0 and -0.
fn lorantz_maximum(x: f32, y: f32) -> f32 {
  let zero = bitcast<f32>(bitcast<u32>(x) & bitcast<u32>(y));
  let number = select(select(y, x, x > y), zero, x == y);
  return select(select(number, y, lorantz_isNaN(y)), x, lorantz_isNaN(x));
}

// The smaller one; NaN if either is; -0 of 0 and -0.
fn lorantz_minimum(x: f32, y: f32) -> f32 {
  let zero = bitcast<f32>(bitcast<u32>(x) | bitcast<u32>(y));
  let number = select(select(y, x, x < y), zero, x == y);
  return select(select(number, y, lorantz_isNaN(y)), x, lorantz_isNaN(x));
}

// Of two elements that share a word, the one at an index, in the upper half of the result.
fn lorantz_ofPair(pair: u32, at: i32) -> u32 {
  return select(pair << 16u, pair & 0xffff0000u, (at & 1) == 1);
}

// The bits of a pair that are not of the element at an index.
fn lorantz_otherOfPair(at: i32) -> u32 {
  return select(0xffff0000u, 0xffffu, (at & 1) == 1);
}

// An element where a pair has it.
fn lorantz_inPair(x: u32, at: i32) -> u32 {
  return select(x >> 16u, x, (at & 1) == 1);
}

// Four elements of two words, and back.
fn lorantz_ofPairs(pairs: vec2<u32>) -> vec4<u32> {
  let low = pairs << vec2<u32>(16u);
  let high = pairs & vec2<u32>(0xffff0000u);
  return vec4<u32>(low.x, high.x, low.y, high.y);
}

fn lorantz_inPairs(x: vec4<u32>) -> vec2<u32> {
  return (x.xz >> vec2<u32>(16u)) | x.yw;
}

// The nearest number of 16 bits, ties to even; infinite from 65520 on, in steps of 2^-24 below 2^-14.
fn lorantz_roundToHalf(x: f32) -> f32 {
  let sign = bitcast<u32>(x) & 0x80000000u;
  let size = bitcast<u32>(x) & 0x7fffffffu;
  if (size > 0x7f800000u) {
    return x;
  }
  // Up to 2^-25, and from there to 2^-24.
  if (size < 0x33800000u) {
    return lorantz_float(sign | select(0x33800000u, 0u, size <= 0x33000000u));
  }
  let dropped = 13u + u32(max(113 - i32(size >> 23u), 0));
  let half = (1u << (dropped - 1u)) - 1u + ((size >> dropped) & 1u);
  let rounded = ((size + half) >> dropped) << dropped;
  return lorantz_float(sign | select(rounded, 0x7f800000u, rounded > 0x477fe000u));
}

// x times 0 or -0: NaN where x is not finite.
fn lorantz_timesZero(x: f32, zero: f32) -> f32 {
  let sign = (bitcast<u32>(x) ^ bitcast<u32>(zero)) & 0x80000000u;
  return lorantz_float(select(0x7fc00000u, sign, lorantz_isFinite(x)));
}

// x over 0 or -0: NaN for zeros and NaN, else an infinity.
fn lorantz_overZero(x: f32, zero: f32) -> f32 {
  let sign = (bitcast<u32>(x) ^ bitcast<u32>(zero)) & 0x80000000u;
  let size = bitcast<u32>(x) & 0x7fffffffu;
  return lorantz_float(select(sign | 0x7f800000u, 0x7fc00000u, size == 0u || size > 0x7f800000u));
}

// Truncated; beyond the range the least or largest integer, 0 for NaN. Only numbers in range are converted, as WGSL
// does not say what becomes of the others on every device.
fn lorantz_int32(x: f32) -> i32 {
  let small = i32(select(0.0, x, abs(x) < 2147483648.0));
  let large = select(0x7fffffff, i32(0x80000000u), x < 0.0);
  return select(small, large, abs(x) >= 2147483648.0 && !lorantz_isNaN(x));
}

fn lorantz_uint32(x: f32) -> u32 {
  let small = u32(select(0.0, x, x > 0.0 && x < 4294967296.0));
  return select(small, 0xffffffffu, x >= 4294967296.0 && !lorantz_isNaN(x));
}

// x 2^n for n from -252 to 254, through two factors that are normal numbers.
fn lorantz_scale(x: f32, n: i32) -> f32 {
  let half = n >> 1u;
  let rest = n - half;
  return x * bitcast<f32>((half + 127) << 23u) * bitcast<f32>((rest + 127) << 23u);
}

// exp(r) - 1 for |r| <= log(2)/2 (coefficients of Cephes expf).
fn lorantz_expTail(r: f32) -> f32 {
  let p = ((((1.9875691500e-4 * r + 1.3981999507e-3) * r + 8.3334519073e-3) * r + 4.1665795894e-2) * r + 1.6666665459e-1) * r + 5.0000001201e-1;
  return r * r * p + r;
}

// log(1 + z) - z + z^2/2 for 1 + z from sqrt(1/2) to sqrt(2) (coefficients of Cephes logf).
fn lorantz_logTail(z: f32) -> f32 {
  let p = ((((((((7.0376836292e-2 * z - 1.1514610310e-1) * z + 1.1676998740e-1) * z - 1.2420140846e-1) * z + 1.4249322787e-1) * z - 1.6668057665e-1) * z + 2.0000714765e-1) * z - 2.4999993993e-1) * z + 3.3333331174e-1);
  return p * z * z * z;
}

// m and e with x = m 2^e and m from sqrt(1/2) to sqrt(2), for x > 0; from the bits, so that subnormals work.
fn lorantz_mantissa(x: f32) -> vec2<f32> {
  var bits = bitcast<i32>(x);
  var e = 0;
  if (bits < 0x00800000) {
    let shift = i32(countLeadingZeros(u32(bits))) - 8;
    bits = bits << u32(shift);
    e = -shift;
  }
  // 0x3f3504f3 is sqrt(1/2).
  let above = bits - 0x3f3504f3;
  e += above >> 23u;
  return vec2<f32>(bitcast<f32>((above & 0x007fffff) + 0x3f3504f3), f32(e));
}

// a b as 64 bits: the high word, the low word.
fn lorantz_multiply(a: u32, b: u32) -> vec2<u32> {
  let low = (a & 0xffffu) * (b & 0xffffu);
  let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
  let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
  return vec2<u32>((a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u), a * b);
}

// The bits of 2/pi after its point, in words, from the third on; two of zeros stand before them.
fn lorantz_twoOverPi(i: u32) -> u32 {
  switch i {
    case 2u: {
      return 0xa2f9836eu;
    }
    case 3u: {
      return 0x4e441529u;
    }
    case 4u: {
      return 0xfc2757d1u;
    }
    case 5u: {
      return 0xf534ddc0u;
    }
    case 6u: {
      return 0xdb629599u;
    }
    case 7u: {
      return 0x3c439041u;
    }
    default: {
      return 0u;
    }
  }
}

// The angle from the nearest multiple of pi/2, and the quadrant (mod 4) of that multiple; x is finite. Large x:
// its product with the 96 bits of 2/pi that matter, in integers (Payne and Hanek).
fn lorantz_reduceAngle(x: f32) -> vec2<f32> {
  if (abs(x) < 0.7853981) {
    return vec2<f32>(x, 0.0);
  }
  if (abs(x) < 100.0) {
    // pi/2 in three parts; the first two have 16 bits, so that products with n of 7 bits are exact.
    let n = round(x * 0.636619772367581343);
    let r = ((x - n * 1.57080078125) - n * -4.454399459064007e-6) - n * -5.564431554416771e-11;
    return vec2<f32>(r, n - 4.0 * floor(n * 0.25));
  }
  let bits = bitcast<u32>(x);
  let mantissa = (bits << 8u) | 0x80000000u;
  // |x| = mantissa 2^(e - 32)
  let e = ((bits >> 23u) & 0xffu) - 126u;
  // What is above four turns of pi/2 does not matter: two bits before the point stay, the quadrant.
  let skip = e + 30u;
  let word = skip / 32u;
  let shift = skip % 32u;
  var w0 = lorantz_twoOverPi(word);
  var w1 = lorantz_twoOverPi(word + 1u);
  var w2 = lorantz_twoOverPi(word + 2u);
  if (shift > 0u) {
    w0 = (w0 << shift) | (w1 >> (32u - shift));
    w1 = (w1 << shift) | (w2 >> (32u - shift));
    w2 = (w2 << shift) | (lorantz_twoOverPi(word + 3u) >> (32u - shift));
  }
  let carry = lorantz_multiply(mantissa, w2).x;
  let middle = lorantz_multiply(mantissa, w1);
  var low = middle.y + carry;
  var high = mantissa * w0 + middle.x + select(0u, 1u, low < carry);
  var quadrant = high >> 30u;
  high = high & 0x3fffffffu;
  var negative = x < 0.0;
  if (high >= 0x20000000u) {
    // Nearer to the next multiple: minus what is missing.
    quadrant += 1u;
    low = ~low + 1u;
    high = (~high + select(0u, 1u, low == 0u)) & 0x3fffffffu;
    negative = !negative;
  }
  if (x < 0.0) {
    quadrant = ~quadrant + 1u;
  }
  var zeros = countLeadingZeros(high);
  if (zeros >= 32u) {
    zeros = 32u + countLeadingZeros(low);
    high = low;
    low = 0u;
    high = high << ((zeros - 32u) & 31u);
  } else {
    high = select((high << zeros) | (low >> ((32u - zeros) & 31u)), high, zeros == 0u);
  }
  // high 2^-zeros 2^-30, times pi/2
  let r = lorantz_scale(f32(high) * 1.57079632679489662, -30 - i32(zeros));
  return vec2<f32>(select(r, -r, negative), f32(quadrant & 3u));
}

// sin(r) and cos(r) for |r| <= pi/4 (coefficients of Cephes sinf and cosf).
fn lorantz_sinTail(r: f32) -> f32 {
  let z = r * r;
  return ((-1.9515295891e-4 * z + 8.3321608736e-3) * z - 1.6666654611e-1) * z * r + r;
}

fn lorantz_cosTail(r: f32) -> f32 {
  let z = r * r;
  return ((2.443315711809948e-5 * z - 1.388731625493765e-3) * z + 4.166664568298827e-2) * z * z - 0.5 * z + 1.0;
}

fn lorantz_sin(x: f32) -> f32 {
  if (!lorantz_isFinite(x)) {
    return lorantz_float(0x7fc00000u);
  }
  if (abs(x) < 2e-4) {
    return x;
  }
  let angle = lorantz_reduceAngle(x);
  let quadrant = i32(angle.y);
  var y = lorantz_sinTail(angle.x);
  if ((quadrant & 1) == 1) {
    y = lorantz_cosTail(angle.x);
  }
  return select(y, -y, quadrant >= 2);
}

fn lorantz_cos(x: f32) -> f32 {
  if (!lorantz_isFinite(x)) {
    return lorantz_float(0x7fc00000u);
  }
  let angle = lorantz_reduceAngle(x);
  let quadrant = i32(angle.y);
  var y = lorantz_cosTail(angle.x);
  if ((quadrant & 1) == 1) {
    y = lorantz_sinTail(angle.x);
  }
  return select(y, -y, quadrant == 1 || quadrant == 2);
}

// The upper half of the digits: products of two such numbers are exact.
fn lorantz_upper(x: f32) -> f32 {
  return bitcast<f32>(bitcast<u32>(x) & 0xfffff000u);
}

// |x|^y for finite |x| > 0 and finite y: 2^(y log2 |x|), the logarithm as a sum of two numbers.
fn lorantz_powFinite(x: f32, y: f32) -> f32 {
  let parts = lorantz_mantissa(x);
  let z = parts.x - 1.0;
  // log(1 + z) = z - z^2/2 + tail, with z^2/2 split into an exact part and a rest.
  let zh = lorantz_upper(z);
  let zl = z - zh;
  let square = 0.5 * zh * zh;
  let rest = lorantz_logTail(z) - (zh + 0.5 * zl) * zl;
  let high = lorantz_upper(z - square + rest);
  let low = ((z - high) - square) + rest;
  // times log2(e), which is 1.4423828125 + 3.1222843396e-4
  let l2 = lorantz_upper(parts.y + high * 1.4423828125);
  let l2low = ((parts.y - l2) + high * 1.4423828125) + (high * 3.1222843396e-4 + low * 1.44269504);
  // times y
  let yh = lorantz_upper(y);
  let yl = y - yh;
  let power = yh * l2;
  let powerLow = yl * l2 + y * l2low;
  if (!(power + powerLow < 128.5)) {
    return lorantz_float(0x7f800000u);
  }
  if (power + powerLow < -151.0) {
    return 0.0;
  }
  let n = round(power);
  let r = (power - n) + powerLow;
  return lorantz_scale(1.0 + lorantz_expTail(r * 0.693147180559945309), i32(n));
}

// As C's pow, but NaN for -1 to the power of an infinity (JavaScript).
fn lorantz_pow(x: f32, y: f32) -> f32 {
  let xBits = bitcast<u32>(x);
  let yBits = bitcast<u32>(y);
  let size = xBits & 0x7fffffffu;
  let ySize = yBits & 0x7fffffffu;
  if (xBits == 0x3f800000u || ySize == 0u) {
    return 1.0;
  }
  if (size > 0x7f800000u || ySize > 0x7f800000u) {
    return lorantz_float(0x7fc00000u);
  }
  let up = yBits < 0x80000000u;
  if (ySize == 0x7f800000u) {
    if (size == 0x3f800000u) {
      return lorantz_float(0x7fc00000u);
    }
    return lorantz_float(select(0u, 0x7f800000u, (size > 0x3f800000u) == up));
  }
  // From 2^24 on every number is an even integer.
  let whole = ySize >= 0x4b800000u || floor(y) == y;
  let odd = whole && ySize < 0x4b800000u && (i32(y) & 1) == 1;
  let negative = xBits >= 0x80000000u;
  var result: f32;
  if (size == 0u || size == 0x7f800000u) {
    result = lorantz_float(select(0u, 0x7f800000u, (size != 0u) == up));
  } else if (negative && !whole) {
    return lorantz_float(0x7fc00000u);
  } else {
    result = lorantz_powFinite(bitcast<f32>(size), y);
  }
  return select(result, -result, negative && odd);
}
`,
} as const;
