// results [height, width] = left [height, depth] · right [depth, width] (+ bias), then the epilogue.
// Reference: reference/linear.rs
//
// A thread holds ROWS × COLUMNS sums in registers. The values of `left` are the same for all threads of a row of the
// workgroup; the threads read neighbouring columns of `right`. With F16 both operands are in half precision and a column
// is a pair of columns. Constants: `Block::template` in block.rs.
#if F16
enable f16;
#endif
#include activation_function

struct Sizes {
    height: u32,
    depth: u32,
    width: u32,
    // Each `run` of rows of the residual is for `repeat` runs of results.
    run: u32,
    repeat: u32,
}

@group(0) @binding(${BINDING}) var<storage, read_write> left: array<${SHARED}>;
@group(0) @binding(${BINDING}) var<storage, read_write> right: array<${OWN}>;
#if BIAS
@group(0) @binding(${BINDING}) var<storage, read_write> bias: array<f32>;
#endif
#if ADD
@group(0) @binding(${BINDING}) var<storage, read_write> residual: array<f32>;
#endif
@group(0) @binding(${BINDING}) var<storage, read_write> results: array<${RESULT}>;
@group(0) @binding(${BINDING}) var<uniform> sizes: Sizes;

// Applies the epilogue to a sum of `row` and `column` and writes it.
fn write(row: u32, column: u32, sum: ${SUM}) {
    var y = sum;
    let at = row * sizes.width + column;
#if BIAS
#if F16
    y += vec2<f32>(bias[column], bias[column + 1u]);
#else
    y += bias[column];
#endif
#endif
#if ACTIVATION
#if F16
    y = vec2<f32>(activation(y.x), activation(y.y));
#else
    y = activation(y);
#endif
#endif
#if ADD
    let residual_row = row / sizes.run / sizes.repeat * sizes.run + row % sizes.run;
    let residual_at = residual_row * sizes.width + column;
#if F16
    results[at] = residual[residual_at] + y.x;
    results[at + 1u] = residual[residual_at + 1u] + y.y;
#else
    results[at] = residual[residual_at] + y;
#endif
#else
    results[at / ${WIDTH}u] = ${RESULT}(y);
#endif
}

@compute @workgroup_size(${LANES}, ${TEAMS}, 1)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) thread: vec3<u32>,
) {
    let height = sizes.height;
    let width = sizes.width;
    // In reads.
    let depth = sizes.depth / ${PARTS}u;
    let line = width / ${WIDTH}u;
    let first_row = ((group.y + group.z * groups.y) * ${TEAMS}u + thread.y) * ${ROWS}u;
    // In columns.
    let first_column = (group.x * ${COLUMNS}u * ${LANES}u + thread.x) * ${WIDTH}u;
#for i in ROWS
    let row${i} = min(first_row + ${i}u, height - 1u) * depth;
#endfor
#for j in COLUMNS
    let column${j} = first_column + ${j}u * ${LANES}u * ${WIDTH}u;
    let read${j} = min(column${j}, width - ${WIDTH}u) / ${WIDTH}u;
#endfor
#for i in ROWS
#for j in COLUMNS
    var sum${i}_${j} = ${SUM}(0.0);
#endfor
#endfor
    for (var step = 0u; step < depth; step += 1u) {
        let at = step * ${PARTS}u * line;
#for part in PARTS
#for j in COLUMNS
        let b${part}_${j} = ${SUM}(right[at + ${part}u * line + read${j}]);
#endfor
#endfor
#for i in ROWS
        let a${i} = ${SHARED_F32}(left[row${i} + step]);
#endfor
#include block_products
    }
#for i in ROWS
#for j in COLUMNS
    if (first_row + ${i}u < height && column${j} < width) {
        write(first_row + ${i}u, column${j}, sum${i}_${j});
    }
#endfor
#endfor
}
