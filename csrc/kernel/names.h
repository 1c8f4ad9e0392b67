/* Names of one instance: each source below is included once per instruction set and compute type, and is
 * written in plain names, to which this gives the ending of the instance. */
#undef LANES
#undef WIDE

/* simd.h */
#undef scalar
#define scalar FO_NAME(scalar)
#undef lane_bits
#define lane_bits FO_NAME(lane_bits)
#undef vec
#define vec FO_NAME(vec)
#undef unaligned
#define unaligned FO_NAME(unaligned)
#undef mask
#define mask FO_NAME(mask)
#undef load_native
#define load_native FO_NAME(load_native)
#undef load_far_native
#define load_far_native FO_NAME(load_far_native)
#undef store_native
#define store_native FO_NAME(store_native)
#undef load_first_native
#define load_first_native FO_NAME(load_first_native)
#undef store_first_native
#define store_first_native FO_NAME(store_first_native)
#undef first_lanes
#define first_lanes FO_NAME(first_lanes)
#undef keep_order
#define keep_order FO_NAME(keep_order)
#undef root_by_divider
#define root_by_divider FO_NAME(root_by_divider)
#undef where
#define where FO_NAME(where)
#undef maximum
#define maximum FO_NAME(maximum)
#undef minimum
#define minimum FO_NAME(minimum)
#undef absolute
#define absolute FO_NAME(absolute)
#undef sign
#define sign FO_NAME(sign)

/* formats.h */
#undef words
#define words FO_NAME(words)
#undef halves
#define halves FO_NAME(halves)
#undef load_halves
#define load_halves FO_NAME(load_halves)
#undef store_halves
#define store_halves FO_NAME(store_halves)
#undef load_first_halves
#define load_first_halves FO_NAME(load_first_halves)
#undef store_first_halves
#define store_first_halves FO_NAME(store_first_halves)
#undef select_words
#define select_words FO_NAME(select_words)
#undef join
#define join FO_NAME(join)
#undef split
#define split FO_NAME(split)
#undef from_float16
#define from_float16 FO_NAME(from_float16)
#undef to_float16
#define to_float16 FO_NAME(to_float16)
#undef load
#define load FO_NAME(load)
#undef store
#define store FO_NAME(store)
#undef load_first
#define load_first FO_NAME(load_first)
#undef store_first
#define store_first FO_NAME(store_first)
#undef wide
#define wide FO_NAME(wide)
#undef narrow
#define narrow FO_NAME(narrow)
#undef widen
#define widen FO_NAME(widen)
#undef load_wide
#define load_wide FO_NAME(load_wide)

/* blocks.h */
#undef code_bytes
#define code_bytes FO_NAME(code_bytes)
#undef load_codes
#define load_codes FO_NAME(load_codes)
#undef store_codes
#define store_codes FO_NAME(store_codes)
#undef larger
#define larger FO_NAME(larger)
#undef first_code
#define first_code FO_NAME(first_code)
#undef shift_of
#define shift_of FO_NAME(shift_of)
#undef factor_of
#define factor_of FO_NAME(factor_of)
#undef decode
#define decode FO_NAME(decode)
#undef load_block
#define load_block FO_NAME(load_block)
#undef largest_bits
#define largest_bits FO_NAME(largest_bits)
#undef store_block
#define store_block FO_NAME(store_block)

/* rounding.h */
#undef quiet_nans
#define quiet_nans FO_NAME(quiet_nans)
#undef round_to_nearest
#define round_to_nearest FO_NAME(round_to_nearest)
#undef round_at_random
#define round_at_random FO_NAME(round_at_random)
#undef first_word
#define first_word FO_NAME(first_word)
#undef next_word
#define next_word FO_NAME(next_word)
#undef lane_numbers
#define lane_numbers FO_NAME(lane_numbers)
#undef draw_halves
#define draw_halves FO_NAME(draw_halves)

/* roots.h */
#undef rounds_to_nearest
#define rounds_to_nearest FO_NAME(rounds_to_nearest)
#undef add_product
#define add_product FO_NAME(add_product)
#undef subtract_product
#define subtract_product FO_NAME(subtract_product)
#undef iterate_root
#define iterate_root FO_NAME(iterate_root)
#undef finish_root
#define finish_root FO_NAME(finish_root)
#undef all_fit
#define all_fit FO_NAME(all_fit)
#undef estimate_of
#define estimate_of FO_NAME(estimate_of)
#undef multiplied_root
#define multiplied_root FO_NAME(multiplied_root)
#undef root_of
#define root_of FO_NAME(root_of)

/* formula.h */
#undef operands
#define operands FO_NAME(operands)
#undef setting_of
#define setting_of FO_NAME(setting_of)
#undef factors
#define factors FO_NAME(factors)
#undef setting
#define setting FO_NAME(setting)
#undef STATES
#define STATES FO_NAME(STATES)
#undef BUFFERS
#define BUFFERS FO_NAME(BUFFERS)
#undef is_optional
#define is_optional FO_NAME(is_optional)
#undef has_buffer
#define has_buffer FO_NAME(has_buffer)
#undef load_operand
#define load_operand FO_NAME(load_operand)
#undef store_operand
#define store_operand FO_NAME(store_operand)
#undef load_operands
#define load_operands FO_NAME(load_operands)
#undef store_operands
#define store_operands FO_NAME(store_operands)
#undef prepare
#define prepare FO_NAME(prepare)
#undef update
#define update FO_NAME(update)
#undef take_update
#define take_update FO_NAME(take_update)
#undef update_operands
#define update_operands FO_NAME(update_operands)

/* loop.h */
#undef group_plan
#define group_plan FO_NAME(group_plan)
#undef plan_of
#define plan_of FO_NAME(plan_of)
#undef take_roots
#define take_roots FO_NAME(take_roots)
#undef step_first
#define step_first FO_NAME(step_first)
#undef step_group
#define step_group FO_NAME(step_group)
#undef step_groups
#define step_groups FO_NAME(step_groups)
#undef run
#define run FO_NAME(run)

/* masked.h */
#undef where_they_agree
#define where_they_agree FO_NAME(where_they_agree)
#undef mask_all
#define mask_all FO_NAME(mask_all)

/* terms.h */
#undef take_terms
#define take_terms FO_NAME(take_terms)
#undef take_first_terms
#define take_first_terms FO_NAME(take_first_terms)

/* narrow.h */
#undef unaligned_words
#define unaligned_words FO_NAME(unaligned_words)
#undef load_bfloat16_pair
#define load_bfloat16_pair FO_NAME(load_bfloat16_pair)
#undef store_bfloat16_pair
#define store_bfloat16_pair FO_NAME(store_bfloat16_pair)
#undef load_interleaved_pair
#define load_interleaved_pair FO_NAME(load_interleaved_pair)
#undef store_interleaved_pair
#define store_interleaved_pair FO_NAME(store_interleaved_pair)
#undef load_split_pair
#define load_split_pair FO_NAME(load_split_pair)
#undef store_split_pair
#define store_split_pair FO_NAME(store_split_pair)
#undef vector_of
#define vector_of FO_NAME(vector_of)
#undef storage_of
#define storage_of FO_NAME(storage_of)
#undef step_narrow_groups
#define step_narrow_groups FO_NAME(step_narrow_groups)
#undef load_buffer
#define load_buffer FO_NAME(load_buffer)
#undef load_group
#define load_group FO_NAME(load_group)
#undef spread_halves
#define spread_halves FO_NAME(spread_halves)
#undef round_buffer
#define round_buffer FO_NAME(round_buffer)
#undef store_rounded
#define store_rounded FO_NAME(store_rounded)
#undef store_buffer
#define store_buffer FO_NAME(store_buffer)
#undef nans_seen
#define nans_seen FO_NAME(nans_seen)
#undef add_nans
#define add_nans FO_NAME(add_nans)
#undef any_nan
#define any_nan FO_NAME(any_nan)
#undef hide_value
#define hide_value FO_NAME(hide_value)
#undef draw_words
#define draw_words FO_NAME(draw_words)
#undef has_nan
#define has_nan FO_NAME(has_nan)
#undef store_params
#define store_params FO_NAME(store_params)
#undef step_narrow_group
#define step_narrow_group FO_NAME(step_narrow_group)

/* block_loop.h */
#undef BLOCK_VECTORS
#define BLOCK_VECTORS FO_NAME(BLOCK_VECTORS)
#undef has_squares
#define has_squares FO_NAME(has_squares)
#undef load_split_pair_in_order
#define load_split_pair_in_order FO_NAME(load_split_pair_in_order)
#undef store_split_pair_in_order
#define store_split_pair_in_order FO_NAME(store_split_pair_in_order)
#undef load_split
#define load_split FO_NAME(load_split)
#undef store_split
#define store_split FO_NAME(store_split)
#undef largest_in
#define largest_in FO_NAME(largest_in)
#undef first_words
#define first_words FO_NAME(first_words)
#undef take_words
#define take_words FO_NAME(take_words)
#undef encode
#define encode FO_NAME(encode)
#undef load_states
#define load_states FO_NAME(load_states)
#undef load_operands_of_block
#define load_operands_of_block FO_NAME(load_operands_of_block)
#undef store_params_of_block
#define store_params_of_block FO_NAME(store_params_of_block)
#undef encode_states
#define encode_states FO_NAME(encode_states)
#undef step_block
#define step_block FO_NAME(step_block)

/* sums.h */
#undef add_square
#define add_square FO_NAME(add_square)
#undef add_whole
#define add_whole FO_NAME(add_whole)
#undef add_all
#define add_all FO_NAME(add_all)
#undef add_rest
#define add_rest FO_NAME(add_rest)
#undef add_up
#define add_up FO_NAME(add_up)
#undef sum_one_block
#define sum_one_block FO_NAME(sum_one_block)
#undef sum_two_blocks
#define sum_two_blocks FO_NAME(sum_two_blocks)

/* convert.c */
#undef join_buffers
#define join_buffers FO_NAME(join_buffers)
#undef split_buffer
#define split_buffer FO_NAME(split_buffer)
#undef widen_buffer
#define widen_buffer FO_NAME(widen_buffer)
#undef narrow_buffer
#define narrow_buffer FO_NAME(narrow_buffer)
#undef widen_blocks
#define widen_blocks FO_NAME(widen_blocks)
#undef narrow_blocks
#define narrow_blocks FO_NAME(narrow_blocks)
#undef narrow_run
#define narrow_run FO_NAME(narrow_run)
