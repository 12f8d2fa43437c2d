// Batched matrix product by subgroups of 8: for drivers that compute in vectors of 8 lanes, where loads are the cost.
//
//   sum[batch, row, column] = sum over inner of a[batch, row, inner] * b[batch, inner, column]
//
// Grid: one workgroup, which is one subgroup of 8 invocations, for each tile of 8 * row_groups rows by 32 columns.
// For four inner indices at a time each lane loads row_groups quads of a, and its own 4 x 4 block of b; each quad of
// a goes to all lanes by broadcast, so that nothing is loaded twice in a tile, and no memory is shared.
// Rows and columns beyond the edge repeat the last one and are not stored; inner indices beyond the end are 0.
// Holes: the constants, the bindings and the bodies of load_a, load_b, a_quad, b_quad, multiply, store_element and
// store are replaced by generation (src/backend/webgpu/matmul.ts). What stands here multiplies plain row-major
// matrices.
// Limits relied on: the subgroup has 8 lanes. Lanes of a broadcast are constants, hence the written-out sums.

enable subgroups;

const batches: i32 = 1;
const rows: i32 = 64;
const columns: i32 = 64;
const inner_length: i32 = 64;
// Groups of eight rows in a tile.
const row_groups: i32 = 1;
// Which way four elements lie beside each other: along the inner axis, or not.
const a_along_inner: bool = true;
const b_along_inner: bool = false;
// Workgroups in the first dimension of the dispatch; further ones continue in the second.
const dispatch_width: i32 = 65535;

// Long sums are added up in parts, so that they do not swallow small terms.
const span: i32 = 1024;
const tile_rows: i32 = 8 * row_groups;
const tile_columns: i32 = 32;
const row_tiles: i32 = (rows + tile_rows - 1) / tile_rows;
const column_tiles: i32 = (columns + tile_columns - 1) / tile_columns;

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
    for (var inner = start; inner < min(start + span, inner_length); inner += 4) {
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
      store(batch, row_start + r, column, sums[r]);
    }
  }
}
