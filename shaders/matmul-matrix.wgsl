// Batched matrix product by subgroup matrices, which are tensor cores where a GPU has them. Stands after
// matmul-operands.wgsl.
//
// Grid: one workgroup for each tile of the result. Its subgroups form row_groups by column_groups, and each keeps
// row_matrices by column_matrices matrices of sums in its registers. Operands are staged in workgroup memory in their
// own precision and as they lie in theirs; sums are float32, and go through workgroup memory to where they are stored.
// Holes: the constants and the type of what is staged are replaced by generation.
// Limits relied on: subgroups of `lanes` invocations; a configuration of the adapter with these shapes and types;
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
