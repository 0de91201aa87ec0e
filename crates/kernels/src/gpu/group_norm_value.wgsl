            // The result at `first + i`, given `mean` and `scale` of its group.
            let channel = (first + i) / sizes.area % sizes.channels;
            var y = (values[first + i] - mean) * scale * gamma[channel] + beta[channel];
#if ACTIVATION
            y = activation(y);
#endif
#if ADD
            y += residual[first + i];
#endif
            results[first + i] = y;
