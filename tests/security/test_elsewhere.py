"""Attacks that need a real server, a real cluster or much machinery: a row each, with what is expected and which test
tries it where the machinery lies."""

import ast
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HOSTILE, ENDPOINT, BATCHING = (
    "unit/builtin/test_hostile.py",
    "unit/serving/test_endpoint.py",
    "unit/serving/test_batching.py",
)
SERVE, CLAIM, VERSIONS = "integration/test_serve.py", "unit/training/test_claim.py", "unit/runtime/test_versions.py"

ELSEWHERE = {
    # What media cost, whatever their header says.
    "files that once crashed a decoder": ("refused", HOSTILE, "test_hostile_files_are_refused_with_a_sentence"),
    "ten seconds of mutated media": (
        "refused, or read",
        HOSTILE,
        "test_each_format_is_read_and_mutations_are_refused_with_a_sentence",
    ),
    "whatever a library raises": ("refused", HOSTILE, "test_whatever_a_library_raises_is_a_broken_file"),
    "a FLAC of 655,350 Hz and 8 channels": (
        "refused within 128 MiB",
        HOSTILE,
        "test_memory_is_bounded_by_what_decoding_costs_and_not_by_the_file",
    ),
    "a text of 16 MB": (
        "refused within 64 MiB",
        HOSTILE,
        "test_memory_is_bounded_by_what_decoding_costs_and_not_by_the_file",
    ),
    "37 kB of film that become gigabytes": (
        "refused within 160 MiB",
        HOSTILE,
        "test_memory_is_bounded_by_what_decoding_costs_and_not_by_the_file",
    ),
    "a film that grows on the way": (
        "refused",
        "unit/builtin/test_video.py",
        "test_a_film_that_grows_on_the_way_is_refused",
    ),
    "a film that lists other files": ("refused", "unit/builtin/test_video.py", "test_a_list_of_other_files_is_refused"),
    "a picture of 30,000 x 30,000 in 100 bytes": (
        "422",
        ENDPOINT,
        "test_media_that_are_broken_or_too_large",
    ),
    "a WAV of ten hours in 100 bytes": ("422", ENDPOINT, "test_media_that_are_broken_or_too_large"),
    "values of strange shapes": ("refused", HOSTILE, "test_values_of_strange_shapes_are_refused_or_taken"),
    "a model that allows itself more": (
        "the server's limits count",
        HOSTILE,
        "test_a_server_lowers_what_decoding_may_cost",
    ),
    "tables whose cells were exchanged": (
        "refused with their place",
        "unit/builtin/test_hostile_tables.py",
        "test_exchanged_cells_of_tables",
    ),
    "JSON whose values were exchanged": (
        "refused with their place",
        "unit/builtin/test_hostile_tables.py",
        "test_exchanged_values_of_json",
    ),
    # Many, large and slow requests.
    "heavy requests at once": (
        "small ones are answered",
        BATCHING,
        "test_heavy_requests_keep_no_small_one_waiting",
    ),
    "more values than memory": ("they wait", BATCHING, "test_values_wait_for_memory_and_give_it_back"),
    "values that find no memory in time": (
        "503 with Retry-After",
        BATCHING,
        "test_who_finds_no_memory_is_told_when_to_come_again",
    ),
    "bodies larger than what may be held": (
        "503 with Retry-After",
        ENDPOINT,
        "test_all_bodies_together_are_bounded_and_their_memory_comes_back",
    ),
    "64 slow bodies": ("others are answered", ENDPOINT, "test_slow_bodies_keep_nobody_out"),
    "a body below the least rate": ("408", ENDPOINT, "test_a_body_slower_than_the_least_rate_is_cut_off"),
    "a body that does not come": ("408", ENDPOINT, "test_a_body_that_does_not_come_is_not_waited_for"),
    "a body without end": ("413, unread", ENDPOINT, "test_a_large_body_is_not_read_to_its_end"),
    "a model that does not answer": ("504", ENDPOINT, "test_a_model_that_does_not_answer_is_not_waited_for"),
    "ten times what is taken": (
        "503 before the held ones end",
        ENDPOINT,
        "test_too_many_are_refused_at_once_and_room_comes_back",
    ),
    "ten times the load, on real Serve": (
        "503 with Retry-After, memory is flat",
        SERVE,
        "test_ten_times_the_load_is_turned_away_while_others_are_answered_and_memory_stays_flat",
    ),
    "bodies below and above the limit, on real Serve": ("200, 413", SERVE, "test_bodies_are_taken_up_to_the_limit"),
    "an answer above 4 MiB, on real Serve": ("200", SERVE, "test_answers_may_be_as_large"),
    "a body in pieces without end, on real Serve": ("413", SERVE, "test_a_body_in_pieces_is_cut_off"),
    "a thousand connections that say nothing": (
        "others are answered",
        SERVE,
        "test_a_thousand_connections_that_say_nothing",
    ),
    "bad input, on real Serve": ("4xx", SERVE, "test_bad_input_is_refused_with_a_sentence"),
    # Ends and changes.
    "an end while requests are answered": (
        "they are answered, new ones are 503",
        ENDPOINT,
        "test_an_end_answers_what_has_come_and_takes_no_more",
    ),
    "an alias that moves to a broken model": (
        "the old one stays, /models and the log say so",
        VERSIONS,
        "test_an_alias_that_moves_to_a_broken_model_leaves_the_old_one_and_is_told",
    ),
    "a broken version, on real Serve": ("the old one stays", SERVE, "test_a_broken_version_leaves_the_old_one_live"),
    "a replica that is killed": ("no request is lost", SERVE, "test_a_replica_that_is_killed_loses_no_request"),
    "SIGTERM while a training runs": (
        "143, and how to resume",
        "unit/training/test_interrupts.py",
        "test_an_interrupted_training_says_how_to_resume_and_its_record_that_it_was_killed",
    ),
    # Two on one run, torn and foreign checkpoints.
    "two processes on one run": (
        "the second is refused with host, pid and age",
        CLAIM,
        "test_a_second_process_is_refused_with_the_first_ones_host_pid_and_age",
    ),
    "two processes of one machine": (
        "the second is refused",
        CLAIM,
        "test_another_process_of_this_machine_is_refused_while_it_lives",
    ),
    "a lock of somebody who is gone": ("taken over", CLAIM, "test_a_stale_claim_is_taken_over"),
    "a checkpoint that is torn": (
        "the one before is taken",
        "unit/engine/test_checkpoint.py",
        "test_what_is_torn_or_foreign_is_passed_over_and_refused",
    ),
    "a pickle dressed up as weights": (
        "refused, never run",
        "unit/engine/test_checkpoint.py",
        "test_a_pickle_dressed_up_as_weights_is_refused_and_never_run",
    ),
    "a writer that is killed": (
        "the one before is taken",
        "unit/engine/test_checkpoint.py",
        "test_a_killed_writer_leaves_the_checkpoint_before_and_its_rest_goes",
    ),
    "a full disk": (
        "the one before is taken",
        "unit/engine/test_checkpoint.py",
        "test_a_full_disk_leaves_the_checkpoint_before",
    ),
    "a storage that cannot be written": (
        "refused at once",
        "unit/training/test_runs.py",
        "test_a_storage_that_cannot_be_written_is_refused_before_anything_is_assembled",
    ),
    "an index that is broken": ("refused", "unit/serving/test_index.py", "test_a_broken_index_is_refused"),
    "an index of another model": ("409", "unit/serving/test_index.py", "test_an_index_of_another_model_is_refused"),
    # Jobs and clusters.
    "a password in a job's address": (
        "refused",
        "unit/runtime/test_jobs.py",
        "test_an_address_with_a_password_reaches_no_job",
    ),
    "a secret among a job's variables": (
        "it stays",
        "unit/runtime/test_jobs.py",
        "test_a_job_is_sent_with_files_places_and_no_secret",
    ),
    "a job that resumes from elsewhere": (
        "it is found",
        "unit/runtime/test_jobs.py",
        "test_what_is_resumed_is_found_from_the_jobs_folder",
    ),
    "a cluster without a token": (
        "the doctor tells",
        "unit/runtime/test_address.py",
        "test_the_doctor_tells_of_a_dashboard_without_a_token",
    ),
    "somebody without the token": ("refused", "integration/test_submit.py", "test_who_has_no_token_is_told_so"),
    "a server beyond loopback": ("it is not", SERVE, "test_everything_listens_on_loopback"),
    "plugins of the current folder": (
        "none is loaded",
        "unit/test_modules.py",
        "test_python_m_puts_the_current_folder_on_no_path",
    ),
}
"""Attack -> what is expected, the file of the test, and its name."""


@cache
def defined(path: str) -> set[str]:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("expected", "path", "test"), ELSEWHERE.values(), ids=ELSEWHERE)
def test_the_test_of_each_attack_exists(expected, path, test):
    assert expected
    assert test in defined(path)
