// Batched matrix product, both operands staged through workgroup memory. Stands after matmul-operands.wgsl.
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
