def test_it(trained):
    print(trained.broken); print(trained.answer)
    print([c[0] for c in trained.calls])
    import subprocess; print(subprocess.run(["find",str(trained.folder/"runs"),str(trained.folder/"mlartifacts")],capture_output=True,text=True).stdout)
