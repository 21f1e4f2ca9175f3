"""AMD's GPUs: amdsmi, the amdgpu driver's files, and the GPUs of one package."""
