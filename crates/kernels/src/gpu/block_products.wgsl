        // Adds the products of the shared values a and the thread's own values b to the sums.
#for i in ROWS
#for j in COLUMNS
#if VECTOR
#for part in PARTS
        sum${i}_${j} += a${i}[${part}] * b${part}_${j};
#endfor
#else
        sum${i}_${j} += a${i} * b0_${j};
#endif
#endfor
#endfor
