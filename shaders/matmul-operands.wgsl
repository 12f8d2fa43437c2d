// What the families of matrix products share: where operands come from, edges, and where results go.
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
