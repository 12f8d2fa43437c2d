// Batched matrix product by subgroups of 8: for drivers that compute in vectors of 8 lanes, where loads are the cost.
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
